"""An end that nobody hears of, its telling killed with SIGKILL at every commit, and taken up again.

`python -m tests.crash.away FOLDER` tries every point and leaves in FOLDER what came of it, one
folder each. The receiver of the webhook is a process of its own, which nobody kills in between.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.program import DeadlyDatabase, append, at_once, in_a_process
from tests.fakes.ports import ManualClock
from tests.notifications.office import ANA, Office, office
from tidings.storage.warm.port import Database

POINTS_MAX = 20
PLACES = ("before the commit", "after the commit")
RECEIVED, TOLD = "received", "told"
FIRST_LIFE, SECOND_LIFE = 1_800_000_000.0, 1_800_003_600.0


def receive(listening: socket.socket, root: Path) -> None:
    """Take webhooks for ever; write the id of each into the folder that its path names."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        folder = root / head[0].split()[1].strip("/").replace("%20", " ")
        [told] = [line for line in head if line.lower().startswith("webhook-id: ")]
        append(folder / RECEIVED, told.partition(": ")[2].encode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, sock=listening)
        await server.serve_forever()

    asyncio.run(run())


async def live(folder: Path, host: str, began: float, number: int, place: str) -> None:
    """Be one process: do what is not done yet, from the webhook to the record of its delivery."""

    def wrap(inner: Database) -> Database:
        return DeadlyDatabase(inner, folder, number, place, asyncio.Lock())

    async with office(folder, host, clock=ManualClock(began), wrap=wrap) as it:
        if not await it.notifications.webhooks(ANA):
            url = f"http://{host}/{folder.parent.name}/{folder.name}".replace(" ", "%20")
            await it.notifications.add_webhook(ANA, url)
        await it.end_run()
        await it.wait_and_look()
        await it.call()
        append(folder / TOLD, json.dumps(await told(it)).encode())


async def told(it: Office) -> dict[str, Any]:
    [webhook] = await it.notifications.webhooks(ANA)
    return {
        "items": len(await it.inbox()),
        "events": len(await it.told()),
        "deliveries": [delivery["state"] for delivery in await it.deliveries(webhook)],
    }


def try_point(folder: Path, host: str, number: int, place: str) -> bool:
    """Return whether the process was killed there; a second one, an hour later, went on."""
    folder.mkdir(parents=True)
    first = in_a_process(lambda: asyncio.run(live(folder, host, FIRST_LIFE, number, place)))
    if not os.WIFSIGNALED(first):
        return False
    assert os.WTERMSIG(first) == signal.SIGKILL
    assert not (folder / TOLD).exists()
    assert in_a_process(lambda: asyncio.run(live(folder, host, SECOND_LIFE, 0, ""))) == 0
    return True


def try_place(root: Path, host: str, place: str) -> None:
    for number in range(1, POINTS_MAX):
        if not try_point(root / place / f"{number:02d}", host, number, place):
            break


def main(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        receiver = os.fork()
        if receiver == 0:
            receive(listening, root)
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        try:
            at_once(partial(try_place, root, host, place) for place in PLACES)
        finally:
            os.kill(receiver, signal.SIGKILL)
            os.waitpid(receiver, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
