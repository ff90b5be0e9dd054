"""One address for several gateways."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from contextlib import suppress

READ_BYTES = 64 * 1024


class Balancer:
    """Carries each connection to the next port that takes one: nothing sticks to a gateway."""

    def __init__(self, port: int, targets: Sequence[int]) -> None:
        self._port = port
        self._targets = itertools.cycle(targets)
        self._count = len(targets)
        self._loop = asyncio.new_event_loop()
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Cut what is carried, and listen no more."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", self._port, backlog=2048)
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in itertools.islice(self._targets, self._count):
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", port)
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pour(reader, back))
                    both.create_task(_pour(there, writer))
                return
        writer.transport.abort()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end; a connection that is cut is cut on the other side."""
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()
    except (OSError, asyncio.CancelledError):
        writer.transport.abort()
