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
USERS, GONE, BACKED_UP, RESTORING, RESTORED = "users", "gone", "backup", "restoring", "restored"
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
    """All that anybody was told: users, the operator (`marks`), and whose deletion that is."""

    persons: list[Person]
    deleted: str
    marks: set[str]


class Recorder:
    """Has it in the recording that something is known from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.marks: set[str] = set()

    def mark(self, what: str) -> None:
        self.marks.add(what)
        with self._path.open("a") as file:
            file.write(what)


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
    """Let everything happen that shall be recorded; all ends in order, the last runs are open."""
    server, recorder = ServerProcess(folder / DATA, PROGRAM), Recorder(folder / MARKS)
    server.start()
    *users, leaving = await add_users(server, "ana", "ben", "cem")
    recorder.mark(USERS)
    async with AsyncExitStack() as stack:
        actors = []
        for user in users:
            its = await stack.enter_async_context(device(server.url, user.id, user.token, "d"))
            actors.append(Actor(user, its, usage_log(folder, user.name)))
        await leaving.upload(usage_log(folder, leaving.name))
        deleting = aside(recorder, GONE, folder, "user", "delete", leaving.name, "--yes")
        await together((deleting, *(actor.work() for actor in actors)))
        backing_up = aside(recorder, BACKED_UP, folder, "backup", folder / BACKUP)
        await together((backing_up, *(actor.work() for actor in actors)))
        assert server.stop() == 0
        server.start()
        await together(actor.be_left() for actor in actors)
        assert server.stop() == 0
    recorder.mark(RESTORING)
    operate(folder, "restore", folder / BACKUP)
    recorder.mark(RESTORED)
    return Story([actor.close() for actor in actors], leaving.id, recorder.marks)


async def together(acts: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for act in acts:
            tasks.create_task(act)


def usage_log(folder: Path, name: str) -> Path:
    """Write a usage log for somebody to upload."""
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        write_csv(generate(random.Random(name), REQUESTS), file)
    return path


async def aside(recorder: Recorder, what: str, folder: Path, *words: str | Path) -> None:
    """Do what an operator does while others work; take note when it is done."""
    await asyncio.to_thread(operate, folder, *words)
    recorder.mark(what)


def operate(folder: Path, *words: str | Path) -> None:
    """Do what an operator does, on the data of a story."""
    ran = tidings(*words, "--data-dir", folder / DATA)
    assert ran.status == 0, ran.err


def main(folder: Path) -> None:
    story = asyncio.run(play(folder))
    (folder / STORY).write_bytes(msgspec.json.encode(story))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
