"""B17 to B34, those on the wire: what comes before a message is complete is bounded as well."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.frames import Frame, Opcode

from tests.harness.server import Client, ServerProcess, User
from tidings.gateway.wire import (
    FRAGMENT_BYTES_MEAN_MIN,
    HEAD_BYTES_MAX,
    HEAD_SECONDS,
    PINGS_PER_SECOND_MAX,
)
from tidings.protocol.frames import FRAME_BYTES_MAX

Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@asynccontextmanager
async def raw(server: ServerProcess) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def upgraded(user: User) -> AsyncIterator[Raw]:
    async with raw(user.server) as (reader, writer):
        writer.write(UPGRADE + f"Authorization: Bearer {user.token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(60):
            return await reader.read(-1)
    except ConnectionResetError:
        return b""


async def closing_code(reader: asyncio.StreamReader) -> int:
    """Read to the close frame, the only byte of its kind, and return its code."""
    async with asyncio.timeout(60):
        await reader.readuntil(b"\x88")
    return int.from_bytes((await reader.readexactly(3))[1:])


async def is_served(user: User) -> None:
    async with user.connected() as client:
        await client.send({"type": "nothing", "id": "after"})
        assert (await client.next())["ref"] == "after"


def test_b32_a_head_that_drips_or_never_comes_is_not_waited_for(user: User) -> None:
    async def ended(sent: bytes) -> float:
        loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        async with raw(user.server) as (reader, writer), asyncio.TaskGroup() as tasks:
            end = tasks.create_task(read_all(reader))
            for byte in sent:
                writer.write(bytes([byte]))
                await asyncio.wait({end}, timeout=0.3)
                if end.done():
                    break
        return loop.time() - begun

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            waited = [tasks.create_task(ended(sent)) for sent in (b"", b"GET /" + b"x" * 60)]
        for task in waited:
            assert HEAD_SECONDS - 1 < task.result() < HEAD_SECONDS + 2
        await is_served(user)

    asyncio.run(scenario())


def test_b32_a_head_without_end_is_refused(user: User) -> None:
    async def scenario() -> None:
        async with raw(user.server) as (reader, writer):
            writer.write(b"GET /livez HTTP/1.1\r\nX: " + b"x" * (HEAD_BYTES_MAX + 1))
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 400 ")
        await is_served(user)

    asyncio.run(scenario())


def test_b19_fragments_without_end_are_refused_and_pings_between_them_answered(user: User) -> None:
    async def scenario() -> None:
        async with upgraded(user) as (reader, writer):
            writer.write(frame(Opcode.TEXT, b'{"type":"no', fin=False))
            writer.write(frame(Opcode.PING, b"?") + frame(Opcode.CONT, b'thing","id":"1"}'))
            async with asyncio.timeout(60):
                heard = await reader.readuntil(b'"ref":"1"')
            assert b"\x8a\x01?" in heard
            writer.write(frame(Opcode.TEXT, fin=False))
            most = FRAME_BYTES_MAX // FRAGMENT_BYTES_MEAN_MIN
            writer.write(frame(Opcode.CONT, fin=False) * most)
            assert await closing_code(reader) == 1009
        await is_served(user)

    asyncio.run(scenario())


def test_b24_a_flood_of_pings_is_ended(user: User) -> None:
    async def scenario() -> None:
        async with upgraded(user) as (reader, writer):
            writer.write(frame(Opcode.PING, b"?") * PINGS_PER_SECOND_MAX)
            async with asyncio.timeout(60):
                await reader.readuntil(b"\x8a\x01?" * PINGS_PER_SECOND_MAX)
            writer.write(frame(Opcode.PING, b"!") * PINGS_PER_SECOND_MAX)
            assert await closing_code(reader) == 4429
        await is_served(user)

    asyncio.run(scenario())


def test_b17_bad_utf8_ends_the_connection_in_the_fragment_it_comes_in(user: User) -> None:
    async def scenario() -> None:
        for pieces in ((b"\xff",), (b"caf\xc3", b"\xa9", b"\xed\xa0\x80")):
            async with upgraded(user) as (reader, writer):
                writer.write(frame(Opcode.TEXT, b"ok", fin=False))
                for piece in pieces:
                    writer.write(frame(Opcode.CONT, piece, fin=False))
                assert await closing_code(reader) == 1007

    asyncio.run(scenario())


def test_b18_a_frame_that_says_it_is_huge_is_refused_before_its_body(user: User) -> None:
    async def scenario() -> None:
        for size in (FRAME_BYTES_MAX + 1, 100_000_000, 2**63 - 1):
            async with upgraded(user) as (reader, writer):
                writer.write(b"\x81\xff" + size.to_bytes(8) + b"mask")
                assert await closing_code(reader) == 1009

    asyncio.run(scenario())


def test_b21_compression_is_not_agreed_to_so_nothing_can_burst(user: User) -> None:
    async def scenario() -> None:
        async with raw(user.server) as (reader, writer):
            offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
            writer.write(UPGRADE + offer + f"Authorization: Bearer {user.token}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"extensions" not in head.lower()
            writer.write(b"\xc1\x80mask")
            assert await closing_code(reader) == 1002

    asyncio.run(scenario())


BAD_UPGRADES = {
    "no key": UPGRADE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
    "a key that is none": UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
    "an old version": UPGRADE.replace(b"Version: 13", b"Version: 8"),
    "no upgrade": UPGRADE.replace(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b""),
    "HTTP/1.0": UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a POST": UPGRADE.replace(b"GET", b"POST", 1),
    "two lengths": UPGRADE + b"Content-Length: 1\r\nContent-Length: 2\r\n",
    "a length and chunks": UPGRADE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "a header with NUL": UPGRADE + b"X: a\0b\r\n",
}


def test_b23_an_upgrade_that_is_none_is_refused(user: User) -> None:
    async def scenario() -> None:
        for what, request in BAD_UPGRADES.items():
            async with raw(user.server) as (reader, writer):
                writer.write(request + b"\r\n")
                async with asyncio.timeout(60):
                    head = await reader.read(12)
                assert re.fullmatch(rb"HTTP/1.[01] 4\d\d", head), (what, head)
        for origin, code in (("https://evil.example", 4403), ("null", 4403), (user.server.url, 0)):
            async with raw(user.server) as (reader, writer):
                host = f"127.0.0.1:{user.server.port}".encode()
                credentials = f"Origin: {origin}\r\nAuthorization: Bearer {user.token}\r\n\r\n"
                writer.write(UPGRADE.replace(b"Host: x", b"Host: " + host) + credentials.encode())
                await reader.readuntil(b"\r\n\r\n")
                if code:
                    assert await closing_code(reader) == code
                else:
                    async with asyncio.timeout(60):
                        await reader.readuntil(b"connection_established")
        await is_served(user)

    asyncio.run(scenario())


def test_b20_what_the_rfc_forbids_is_a_protocol_error(user: User) -> None:
    forbidden = {
        "an unmasked frame": b"\x81\x02{}",
        "a reserved bit": b"\xc1\x80mask",
        "a reserved opcode": b"\x83\x80mask",
        "a ping of 126 bytes": frame(Opcode.BINARY, b"x" * 126).replace(b"\x82", b"\x89", 1),
        "a fragmented ping": b"\x09\x80mask",
        "a close code of 1005": frame(Opcode.BINARY, b"\x03\xed").replace(b"\x82", b"\x88", 1),
        "a continuation of nothing": frame(Opcode.CONT, b"x"),
    }

    async def scenario() -> None:
        for what, sent in forbidden.items():
            async with upgraded(user) as (reader, writer):
                writer.write(sent)
                assert await closing_code(reader) == 1002, what
        await is_served(user)

    asyncio.run(scenario())


def test_b34_data_after_the_close_is_ignored_and_no_socket_stays_behind(user: User) -> None:
    async def scenario() -> None:
        before = open_files(user.server)
        for ending in (frame(Opcode.CLOSE, b"\x03\xe8"), b""):
            async with upgraded(user) as (reader, writer):
                writer.write(ending + frame(Opcode.TEXT, b'{"type":"pong"}'))
                if ending:
                    assert await closing_code(reader) == 1000
                else:
                    writer.transport.abort()
        async with asyncio.timeout(60):
            while open_files(user.server) > before:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        await is_served(user)

    asyncio.run(scenario())


def test_b33_one_user_has_a_hundred_sockets_at_a_server_and_no_more(
    server: ServerProcess, user: User
) -> None:
    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients: list[Client] = []
            for _ in range(100 * len(server.gateways)):
                clients.append(await stack.enter_async_context(user.connected()))
            async with upgraded(user) as (reader, _):
                assert await closing_code(reader) == 4429
            await clients[0].send({"type": "nothing", "id": "after"})
            assert (await clients[0].next())["ref"] == "after"
        await is_served(user)

    asyncio.run(scenario())


def open_files(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
