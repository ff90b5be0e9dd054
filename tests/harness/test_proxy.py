"""The fault proxy does what it says to a connection, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from tests.harness.proxy import FaultProxy, proxying

SOON = 0.15
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
DATA = bytes(range(256)) * 40


@asynccontextmanager
async def echoing(ended: asyncio.Event | None = None) -> AsyncIterator[FaultProxy]:
    """Have a proxy before a server that echoes; `ended` is set when a connection of it ends."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            if ended is not None:
                ended.set()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with proxying(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


@asynccontextmanager
async def opened(proxy: FaultProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def is_cut(reader: asyncio.StreamReader) -> None:
    with pytest.raises(ConnectionResetError):
        await reader.read(-1)


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SOON):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


def shown(scenario: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(within())


@pytest.mark.parametrize(("piece", "jitter"), [(16 * 1024, 0.0), (1, 0.0), (700, 0.002)])
def test_everything_arrives_as_it_was_sent(piece: int, jitter: float) -> None:
    async def scenario() -> None:
        async with echoing() as proxy:
            proxy.up.piece = proxy.down.piece = piece
            proxy.up.jitter = proxy.down.jitter = jitter
            async with opened(proxy) as (reader, writer):
                writer.write(DATA)
                writer.write_eof()
                assert await reader.read(-1) == DATA
            assert proxy.up.carried == proxy.down.carried == len(DATA)

    shown(scenario)


def test_a_limited_line_takes_its_time() -> None:
    async def scenario() -> None:
        async with echoing() as proxy, opened(proxy) as (reader, writer):
            proxy.down.bytes_per_second, proxy.down.piece = 10_000.0, 100
            begun = asyncio.get_running_loop().time()
            writer.write(DATA[:2000])
            assert await reader.readexactly(2000) == DATA[:2000]
            assert asyncio.get_running_loop().time() - begun >= 0.2

    shown(scenario)


def test_a_reset_comes_after_so_many_bytes_and_both_ends_hear_of_it() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()
        async with echoing(ended) as proxy:
            proxy.down.reset_after = 1234
            async with opened(proxy) as (reader, writer):
                writer.write(DATA)
                await is_cut(reader)
            assert proxy.down.carried == 1234
            await ended.wait()
            assert proxy.open == 0
            async with opened(proxy) as (reader, writer):
                writer.write(b"again")
                assert await reader.readexactly(5) == b"again"

    shown(scenario)


def test_one_direction_may_be_blocked_and_later_goes_on() -> None:
    async def scenario() -> None:
        async with echoing() as proxy, opened(proxy) as (reader, writer):
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            proxy.down.block()
            writer.write(b"b")
            assert await is_silent(reader)
            assert proxy.up.carried == 2
            proxy.down.unblock()
            assert await reader.readexactly(1) == b"b"
            proxy.up.block()
            writer.write(b"c")
            assert await is_silent(reader)
            assert proxy.down.carried == 2
            proxy.calm()
            assert await reader.readexactly(1) == b"c"

    shown(scenario)


def test_a_blocked_end_is_not_told_that_the_other_has_gone() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()
        async with echoing(ended) as proxy:
            async with opened(proxy) as (reader, writer):
                writer.write(b"a")
                await reader.readexactly(1)
                proxy.up.block()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SOON):
                    await ended.wait()
            proxy.up.unblock()
            await ended.wait()

    shown(scenario)


def test_what_it_refuses_and_cuts_is_reset() -> None:
    async def scenario() -> None:
        async with echoing() as proxy, AsyncExitStack() as stack:
            links = [await stack.enter_async_context(opened(proxy)) for _ in range(3)]
            for reader, writer in links:
                writer.write(b"x")
                await reader.readexactly(1)
            assert proxy.cut() == 3
            for reader, _ in links:
                await is_cut(reader)
            proxy.refusing = True
            async with opened(proxy) as (reader, _):
                await is_cut(reader)
            proxy.calm()
            async with opened(proxy) as (reader, writer):
                writer.write(b"y")
                assert await reader.readexactly(1) == b"y"

    shown(scenario)
