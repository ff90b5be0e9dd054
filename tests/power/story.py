"""What is recorded: servers of one data directory, clients, a backup, and what all were told.

`python -m tests.power.story FOLDER`, which is there and empty; `story.json` is written last.
"""

import asyncio
import random
import sys
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.devices import Device, device
from tests.harness.cli import tidings
from tests.harness.server import ROOT, ServerProcess, User, add_users
from tidings.analysis.workload import generate, write_csv
from tidings.domain.commands import Chat, ChatPayload, Receipt

PROGRAM = ROOT / "tests/harness/programs/historian.py"
"""The product's server, with a history that is fed at once."""
DATA, BACKUP, MARKS, STORY = "tidings/data", "backups/first", "marks", "story.json"
USERS, BACKED_UP = "users", "backed up"
REQUESTS = 300
"""Of a usage log that is uploaded."""


class Person(msgspec.Struct):
    """A user: a token, files, commands with their receipts, and the frames a device applied."""

    id: str
    token: str
    files: list[str] = []
    sent: list[Chat] = []
    receipts: list[Receipt] = []
    shown: list[bytes] = []


class Story(msgspec.Struct):
    """All that anybody was told; the recording says when. `backed_up`: that there is a backup."""

    persons: list[Person]
    backed_up: bool


class Actor:
    """A user at a device, who does things and takes note of them."""

    def __init__(self, user: User, device: Device, log: Path) -> None:
        self.person = Person(user.id, user.token)
        self._user = user
        self._device = device
        self._log = log

    async def upload(self) -> None:
        self.person.files.append(await self._user.upload(self._log))

    async def ask(self, text: str, thread: str | None = None) -> Receipt:
        """Have a question accepted, about the last file."""
        payload = ChatPayload(text, thread, tuple(self.person.files[-1:]))
        command = Chat(f"c{len(self.person.sent)}", payload)
        self.person.sent.append(command)
        receipt = await self._device.session.send(command)
        self.person.receipts.append(receipt)
        return receipt

    async def work(self) -> None:
        """Upload, ask in two threads, and ask on when both have their answers."""
        await self.upload()
        receipts = [await self.ask(text) for text in ("Where does our money go?", "What is slow?")]
        await self._device.until_end(*receipts)
        await self.upload()
        await self._device.until_end(await self.ask("And now?", receipts[0].thread_id))

    async def be_left(self) -> None:
        """Ask once more, and see no end of it: a call that a death cut short would be in doubt."""
        await self.ask("What has changed since then?")
        await self._device.more()

    def close(self) -> Person:
        stretches = self._device.history.stretches
        self.person.shown = [a.frame for stretch in stretches for a in stretch.applied]
        return self.person


async def play(folder: Path) -> Story:
    """Let everything happen that shall be recorded, to an orderly end in the middle of runs."""
    data, marks = folder / DATA, folder / MARKS
    server = ServerProcess(data, PROGRAM)
    server.start()
    users = await add_users(server, "ana", "ben")
    mark(marks, USERS)
    async with AsyncExitStack() as stack:
        actors = []
        for number, user in enumerate(users):
            its = await stack.enter_async_context(device(server.url, user.id, user.token, "d"))
            log = folder / f"usage{number}.csv"
            with log.open("w", newline="") as file:
                write_csv(generate(random.Random(number), REQUESTS), file)
            actors.append(Actor(user, its, log))
        await together(actor.work() for actor in actors)
        backing_up = asyncio.to_thread(back_up, data, folder / BACKUP)
        await together((backing_up, *(actor.work() for actor in actors)))
        mark(marks, BACKED_UP)
        assert server.stop() == 0
        server.start()
        await together(actor.be_left() for actor in actors)
        assert server.stop() == 0
        return Story([actor.close() for actor in actors], backed_up=True)


async def together(acts: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for act in acts:
            tasks.create_task(act)


def back_up(data: Path, target: Path) -> None:
    ran = tidings("backup", target, "--data-dir", data)
    assert ran.status == 0, ran.err


def mark(marks: Path, what: str) -> None:
    """Have it in the recording that something is known from now on."""
    with marks.open("a") as file:
        file.write(what)


def main(folder: Path) -> None:
    story = asyncio.run(play(folder))
    (folder / STORY).write_bytes(msgspec.json.encode(story))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
