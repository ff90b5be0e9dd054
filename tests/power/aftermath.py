"""What must be there after a cut of the power: all that was told, and a server that goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import duckdb
import msgspec

from tests.faults.devices import Device, device
from tests.harness.server import ServerProcess
from tests.harness.stored import stored_streams
from tests.invariants import History, Wire, check
from tests.power.story import (
    BACKED_UP,
    BACKUP,
    DATA,
    GONE,
    PROGRAM,
    RESTORED,
    RESTORING,
    USERS,
    Person,
    Story,
    operate,
    together,
)
from tests.stores import rows_of, store_in
from tidings.app import new_ids
from tidings.domain.events import TERMINAL, Event
from tidings.events.lineage import Lineage
from tidings.storage.backups import DATA_SETS, DATABASE_FILE, HISTORY, KEY_FILE
from tidings.storage.warm.sqlite_file import SqliteFile
from tidings.system import SystemClock


def look(folder: Path, known: Story, key: bytes) -> None:
    """Open what a cut has left as a start does, and find all that had been told."""
    if USERS in known.marks or (folder / DATA / DATABASE_FILE).exists():
        _look(folder / DATA, known, key)
    if BACKED_UP in known.marks:
        SqliteFile(folder / BACKUP / DATABASE_FILE).check()
        _check_store(folder / BACKUP, Story([], known.deleted, known.marks), key)
    if RESTORING in known.marks:
        if RESTORED not in known.marks:
            operate(folder, "restore", folder / BACKUP)  # one that was cut off may be repeated
            _look(folder / DATA, known, key)
        assert _commands(folder / BACKUP).items() <= _commands(folder / DATA).items()


def go_on(folder: Path, known: Story, key: bytes) -> None:
    """Start a server on what a cut has left; everybody comes back, and every run ends once."""
    server = ServerProcess(folder / DATA, PROGRAM)
    server.start()
    try:
        asyncio.run(_come_back(server, known.persons))
    finally:
        status = server.stop()
    assert status == 0
    look(folder, known, key)


def _look(data: Path, known: Story, key: bytes) -> None:
    asyncio.run(_open(data))
    _check_store(data, known, key)
    check(stored_streams(data), [_history(person) for person in known.persons])


async def _open(data: Path) -> None:
    store = store_in(data)
    try:
        await store.check()
        await Lineage(store, SystemClock(), new_ids(), data).begin()
    finally:
        await store.close()


def _check_store(data: Path, known: Story, key: bytes) -> None:
    """Check the store by itself, and what it says of files beside it."""
    assert rows_of(data, "pragma integrity_check") == [("ok",)]
    persons = known.persons
    told = {(p.id, r.ref): r.run_id for p in persons for r in p.receipts}
    assert told.items() <= _commands(data).items(), "a command that was accepted is not there"
    epochs = {_wire(frame).epoch for p in persons for frame in p.shown}
    assert epochs <= {epoch for (epoch,) in rows_of(data, "select epoch from store")}
    if USERS in known.marks:
        assert (data / KEY_FILE).read_bytes() == key, "everybody is signed out"
    _check_files(data, {file for p in persons for file in p.files})
    if GONE in known.marks:
        assert not (data / DATA_SETS / known.deleted).exists(), "what was deleted is back"
    _check_history(data)


def _commands(data: Path) -> dict[tuple[str, str], str]:
    """Return the runs of all commands that a store has, by user and command."""
    rows = rows_of(data, "select user_id, command_id, receipt from commands")
    return {(user, id_): msgspec.json.decode(receipt)["run_id"] for user, id_, receipt in rows}


def _check_files(data: Path, told: set[str]) -> None:
    """Check that every data set that was told of is kept, and can be read as its report says."""
    files = rows_of(
        data, "select user_id, file_id, import_report from files where import_report is not null"
    )
    assert told <= {file for _, file, _ in files}, "an upload that was told of is not there"
    for user, file, report in files:
        rows = msgspec.json.decode(report)["rows"]
        path = data / DATA_SETS / user / file / "usage.duckdb"
        with duckdb.connect(str(path), read_only=True) as engine:
            assert engine.execute("select count(*) from usage").fetchall() == [(rows,)]


def _check_history(data: Path) -> None:
    """Check that all that the store believes to be in the history is there."""
    believed = {run for (run,) in rows_of(data, "select run_id from runs where exported_at > 0")}
    for table in ("runs", "events"):
        parts = str(data / HISTORY / table / "*/*.parquet")
        if believed:
            rows = duckdb.execute("select distinct run_id from read_parquet(?)", [parts]).fetchall()
            assert believed <= {run for (run,) in rows}, f"the history lacks {table}"


async def _come_back(server: ServerProcess, persons: Iterable[Person]) -> None:
    async with AsyncExitStack() as stack:
        devices = [
            (person, await stack.enter_async_context(_returning(server, person)))
            for person in persons
        ]
        await together(_repeat(person, its) for person, its in devices)
    log = stored_streams(server.data_dir)
    check(log, [its.history for _, its in devices], at_head=True, ended=True, proven=True)


@asynccontextmanager
async def _returning(server: ServerProcess, person: Person) -> AsyncIterator[Device]:
    """Have somebody's device connected again, with what it was shown and the cursors of that."""
    async with device(server.url, person.id, person.token, "d") as its:
        for frame in person.shown:
            event = msgspec.json.decode(frame, type=Event)
            its.history.applied(event.stream, frame)
            if event.type in TERMINAL and event.run_id:
                its.ends[event.run_id] = event
        for stream, stretch in its.history.following.items():
            await its.session.follow(stream, _wire(stretch.applied[-1].frame).cursor)
        yield its


async def _repeat(person: Person, its: Device) -> None:
    """Send every command again, the one that was not answered too; see all their runs end."""
    answers = [await its.session.send(command) for command in person.sent]
    for told, answer in zip(person.receipts, answers, strict=False):
        assert answer.duplicate
        assert answer.run_id == told.run_id
    await its.until_end(*answers)


def _history(person: Person) -> History:
    history = History(person.id, "d")
    for frame in person.shown:
        history.applied(_wire(frame).stream, frame)
    return history


def _wire(frame: bytes) -> Wire:
    return msgspec.json.decode(frame, type=Wire)
