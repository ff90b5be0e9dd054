"""F27 to F29, F55: what disks and descriptors do to the store and the server."""

import asyncio
import resource
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException

from tests.faults.devices import Puppet, device, eventually
from tests.faults.served import served
from tests.faults.spoilt import SlowDatabase
from tests.harness.server import ServerProcess, User, add_users, serving
from tests.harness.stored import stored_streams
from tests.invariants import LoggedStreams, check
from tests.stores import rows_of
from tidings.domain.errors import TidingsError, Unavailable
from tidings.domain.events import thread_stream
from tidings.protocol.connection import Pace
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.warm.sqlite import SqliteDatabase


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[ServerProcess, User]]:
    """A server process that a test may starve, and a user of it."""
    with serving(tmp_path / "data") as process:
        (ana,) = asyncio.run(add_users(process, "ana"))
        yield process, ana


def limit(process: ServerProcess, what: int, value: int) -> None:
    _, hard = resource.prlimit(process.pid, what)
    resource.prlimit(process.pid, what, (value, hard))


def open_files(process: ServerProcess) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def user_id(data_dir: Path) -> str:
    return str(rows_of(data_dir, "select user_id from users")[0][0])


@pytest.mark.embedded("it is about the disk of the store's file")
def test_f27_a_full_disk_refuses_what_it_cannot_keep_and_nothing_is_half_there(
    own: tuple[ServerProcess, User],
) -> None:
    process, ana = own

    async def scenario() -> None:
        async with device(process.url, user_id(process.data_dir), ana.token, "d1") as client:
            await client.until_end(await client.ask("What can you do?", "m0"))
            wal = (process.data_dir / DATABASE_FILE).with_name(f"{DATABASE_FILE}-wal")
            limit(process, resource.RLIMIT_FSIZE, wal.stat().st_size + 4096)
            refused = set()
            for n in range(20):
                try:
                    await client.ask("What can you do?", f"m{n}")
                except TidingsError as error:
                    refused.add(error.code)
            assert refused <= {"storage_full", "storage_unavailable"}
            assert refused
            limit(process, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
            again = await client.ask("What can you do?", "later")
            await client.until_end(again)
            await eventually(lambda: is_all_ended(process.data_dir))
        check(stored_streams(process.data_dir), [client.history], ended=True, proven=True)
        assert rows_of(process.data_dir, "pragma integrity_check") == [("ok",)]

    asyncio.run(scenario())


def is_all_ended(data_dir: Path) -> bool:
    return not rows_of(data_dir, "select 1 from runs where state <> 'ended'")


def test_f55_without_descriptors_the_old_connections_go_on_and_new_ones_come_later(
    own: tuple[ServerProcess, User],
) -> None:
    process, ana = own

    async def scenario() -> None:
        async with device(process.url, user_id(process.data_dir), ana.token, "d1") as client:
            await client.until_end(await client.ask("What can you do?", "m1"))
            used = open_files(process)
            limit(process, resource.RLIMIT_NOFILE, used + 8)
            async with AsyncExitStack() as stack:
                for n in range(20):
                    puppet = Puppet(process.url, "", ana.token, f"more{n}")
                    with suppress(OSError, TimeoutError, WebSocketException):
                        async with asyncio.timeout(0.3):
                            await stack.enter_async_context(puppet.connected())
                receipt = await client.ask("What can you do?", "m2")
                await client.until(
                    lambda: bool(client.history.events(thread_stream(receipt.thread_id)))
                )
            limit(process, resource.RLIMIT_NOFILE, used + 500)
            await client.until_end(receipt)
            async with device(process.url, client.history.user_id, ana.token, "d2") as late:
                await late.until_end(await late.ask("What can you do?", "m3"))
        histories = [client.history, late.history]
        check(stored_streams(process.data_dir), histories, ended=True, proven=True)

    asyncio.run(scenario())


def test_f29_while_the_disk_is_slow_order_and_heartbeats_stay(tmp_path: Path) -> None:
    async def scenario() -> None:
        disks: list[SlowDatabase] = []

        def slow(inner: object) -> SlowDatabase:
            disks.append(SlowDatabase(inner))  # type: ignore[arg-type]
            return disks[0]

        async with served(tmp_path, wrap=slow, pace=Pace(ping=0.3, pong=1.7)) as server:
            ana, token = await server.user("ana")
            async with device(server.url, ana, token, "d1") as client:
                receipt = await client.ask("tell 40 0.02", "m1")
                await client.more()
                disks[0].seconds = 3.0
                socket = client.session._socket
                await asyncio.sleep(4.0)  # longer than either side bears silence
                assert client.session._socket is socket  # it was pinged all the time
                disks[0].seconds = 0.0
                await client.until_end(receipt)
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def written(folder: Path) -> tuple[Puppet, str]:
    """Serve a run to its end, and leave the store as a killed process does."""
    live, kept = folder / "live", folder / "kept"
    live.mkdir()

    async def scenario() -> tuple[Puppet, str]:
        async with served(live) as server:
            ana, token = await server.user("ana")
            puppet = Puppet(server.url, ana, token, "d1")
            receipt = await server.world.ask("tell 60 0.003", await server.context(token), id="m1")
            stream = thread_stream(receipt.thread_id)
            puppet.core.follow(stream)
            async with puppet.connected():
                await puppet.until(lambda: puppet.last(stream) > 60)
            shutil.copytree(live, kept)  # with its WAL, as it is while it is open
            return puppet, stream

    return asyncio.run(scenario())


@pytest.mark.embedded("it is about the store's file")
@pytest.mark.parametrize("harm", ["truncated", "a bit flipped"])
def test_f28_a_log_that_lost_its_end_opens_on_what_is_whole_and_tells_who_was_ahead(
    tmp_path: Path, harm: str
) -> None:
    puppet, stream = written(tmp_path)
    wal = tmp_path / "kept" / f"{DATABASE_FILE}-wal"
    content = bytearray(wal.read_bytes())
    before = stored_streams_of(tmp_path / "kept")
    if harm == "truncated":
        del content[len(content) * 7 // 10 :]  # more than is written after what the client saw
    else:
        content[len(content) * 7 // 10] ^= 0x10
    wal.write_bytes(content)

    async def scenario() -> None:
        async with served(tmp_path / "kept") as server:
            puppet.url = server.url
            async with puppet.connected():
                (greeted, *_) = await puppet.take()
                (refused,) = greeted.refused  # type: ignore[union-attr]
                assert refused["code"] == "cursor_diverged"
                puppet.history.began(stream)
                await puppet.send(puppet.core.follow(stream))
                await puppet.until(
                    lambda: puppet.last(stream) >= server.world.feed.head(stream) > 0
                )
            after = stored_streams(tmp_path / "kept")
            kept = {event.frame for event in after.events}
            lost = frozenset(e.frame for e in before.events if e.frame not in kept)
            assert lost
            check(stored_streams(tmp_path / "kept", lost), [puppet.history])

    asyncio.run(scenario())


def stored_streams_of(folder: Path) -> LoggedStreams:
    """Read a copy, so that reading does not mend what is to be harmed."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    return stored_streams(copy)


@pytest.mark.embedded("it is about the store's file")
@pytest.mark.parametrize("at", ["the header", "the schema", "everything"])
def test_f28_a_file_that_is_no_store_any_more_is_refused_by_name(tmp_path: Path, at: str) -> None:
    written(tmp_path)
    path = tmp_path / "live" / DATABASE_FILE
    content = bytearray(path.read_bytes())
    place = {"the header": slice(0, 16), "the schema": slice(100, 2000), "everything": slice(None)}
    content[place[at]] = b"\x5a" * len(content[place[at]])
    path.write_bytes(content)
    for beside in (f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm"):
        path.with_name(beside).unlink(missing_ok=True)
    with pytest.raises(Unavailable) as refusal:
        SqliteDatabase.open(path, lambda note: None)
    assert refusal.value.code == "store_damaged"
