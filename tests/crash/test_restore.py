"""Backup under load and restore, with real processes: what is lost is counted and told."""

import asyncio
import json
import shutil
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.cli.conftest import ENDINGS
from tests.harness.cli import Ran, refused, start, tidings
from tests.harness.server import Client, ServerProcess, User, add_users, serving
from tidings.storage.backups import DATABASE_FILE

Event = dict[str, Any]

pytestmark = pytest.mark.embedded("backups are of the store's file; servers have their own")


async def asked(user: User, text: str, **payload: Any) -> list[Event]:
    """Have a run completed; return its events."""
    async with user.connected() as client:
        accepted = await client.ask(
            text, f"m-{text.replace(' ', '-')}", agent="completes", **payload
        )
        return await client.until_end(accepted["run_id"])


async def heard_of_self(user: User) -> list[Event]:
    """Return everything on the user's own stream."""
    page = fetched(user, f"/api/streams/user:{user_id(user)}/events?after=0&limit=1000")
    events: list[Event] = page["events"]
    return events


def user_id(user: User) -> str:
    with closing(sqlite3.connect(user.server.data_dir / DATABASE_FILE)) as connection:
        ((found,),) = connection.execute("select user_id from users").fetchall()
        return str(found)


def fetched(user: User, path: str) -> Any:
    request = urllib.request.Request(
        user.server.url + path, headers={"Authorization": f"Bearer {user.token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def cursor_of(event: Event) -> str:
    return f"{event['epoch']}.{event['offset']}.{event['event_id'][-8:]}"


async def resumed(user: User, stream: str, cursor: str) -> tuple[dict[str, Any], list[Event]]:
    """Say hello with a cursor; return how that went, and what came until `live`."""
    hello = {
        "type": "hello",
        "token": user.token,
        "device": "d1",
        "subscribe": [{"stream": stream, "cursor": cursor}],
    }
    async with connect(user.server.url.replace("http", "ws") + "/ws", proxy=None) as socket:
        client = Client(socket)
        await client.send(hello)
        message = await socket.recv()
        [status] = json.loads(message)["streams"]
        events: list[Event] = []
        while status["ok"]:
            async with asyncio.timeout(60):
                frames = json.loads(await socket.recv())
            frames = frames if isinstance(frames, list) else [frames]
            events += [frame for frame in frames if "event_id" in frame]
            if frames[-1]["type"] == "live":
                break
        return status, events


def ids_of(path: Path, column: str, table: str) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {found for (found,) in connection.execute(f"select {column} from {table}")}


def epochs(data_dir: Path) -> list[tuple[str, int | None]]:
    with closing(sqlite3.connect(data_dir / DATABASE_FILE)) as connection:
        return connection.execute(
            "select why, lost_events from epochs order by began_at"
        ).fetchall()


def test_f25_after_a_restore_every_client_has_its_answer_and_the_loss_is_counted(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    server = ServerProcess(data, ENDINGS)
    server.start()
    [ana] = asyncio.run(add_users(server, "ana"))
    first = asyncio.run(asked(ana, "one"))
    stream, thread = first[0]["stream"], first[0]["thread_id"]
    assert tidings("backup", backup, "--data-dir", data).status == 0
    second = asyncio.run(asked(ana, "two", thread_id=thread))
    elsewhere = asyncio.run(asked(ana, "three"))
    mine = asyncio.run(heard_of_self(ana))
    refused(tidings("restore", backup, "--data-dir", data), "data_dir_in_use")
    server.kill()

    ran = tidings("restore", backup, "--data-dir", data)
    assert (ran.status, ran.err) == (0, "")
    [aside] = data.glob("replaced-*")
    gone = ids_of(aside / DATABASE_FILE, "event_id", "events") - ids_of(
        backup / DATABASE_FILE, "event_id", "events"
    )
    assert {e["event_id"] for e in [*second, *elsewhere]} < gone
    assert f"lost: {len(gone)} events, whole threads: 1; whoever has seen them is told" in ran.out

    server.start()
    try:
        assert server.metric("tidings_epochs") == 2
        assert server.metric("tidings_lost_events") == len(gone)
        assert epochs(data) == [("created", 0), ("restored", len(gone))]
        asyncio.run(_answers_after(ana, stream, first, second, elsewhere, mine))
    finally:
        server.stop()
    server.start()  # an ordinary restart begins no other epoch, and forgets nothing
    try:
        assert server.metric("tidings_epochs") == 2
        assert server.metric("tidings_lost_events") == len(gone)
    finally:
        server.stop()


async def _answers_after(
    ana: User,
    stream: str,
    first: list[Event],
    second: list[Event],
    elsewhere: list[Event],
    mine: list[Event],
) -> None:
    """Check what each client is told: behind, at the common point, beyond, and gone."""
    status, events = await resumed(ana, stream, cursor_of(first[1]))
    assert status["ok"]
    assert [e["event_id"] for e in events] == [e["event_id"] for e in first[2:]]
    status, events = await resumed(ana, stream, cursor_of(first[-1]))
    assert (status["ok"], status["from"], events) == (True, len(first) + 1, [])
    for cursor in (cursor_of(second[0]), cursor_of(second[-1])):
        status, _ = await resumed(ana, stream, cursor)
        assert status["code"] == "cursor_diverged"
    status, _ = await resumed(ana, elsewhere[0]["stream"], cursor_of(elsewhere[-1]))
    assert status["code"] == "not_found"
    status, _ = await resumed(ana, mine[-1]["stream"], cursor_of(mine[-1]))
    assert status["code"] == "cursor_diverged"
    status, _ = await resumed(ana, stream, cursor_of(second[0]))
    snapshot = fetched(ana, status["snapshot"])
    assert [m["run_id"] for m in snapshot["messages"]] == [first[0]["run_id"]] * 2
    assert (await resumed(ana, stream, snapshot["cursor"]))[0]["from"] == len(first) + 1

    other = await asked(ana, "other", thread_id=first[0]["thread_id"])
    assert other[0]["offset"] == second[0]["offset"]
    assert other[0]["epoch"] != first[0]["epoch"]
    for lost in second:
        assert (await resumed(ana, stream, cursor_of(lost)))[0]["code"] == "cursor_diverged"
    status, events = await resumed(ana, stream, cursor_of(first[-1]))
    assert [e["event_id"] for e in events] == [e["event_id"] for e in other]
    status, events = await resumed(ana, stream, cursor_of(other[0]))
    assert [e["event_id"] for e in events] == [e["event_id"] for e in other[1:]]


def test_f25_a_file_that_was_put_back_by_hand_is_recognised(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, ENDINGS)
    server.start()
    [ana] = asyncio.run(add_users(server, "ana"))
    first = asyncio.run(asked(ana, "one"))
    server.stop()
    shutil.copy(tmp_path / DATABASE_FILE, tmp_path / "old.db")
    server.start()
    second = asyncio.run(asked(ana, "two", thread_id=first[0]["thread_id"]))
    server.kill()
    for path in tmp_path.glob(f"{DATABASE_FILE}-*"):
        path.unlink()
    (tmp_path / "old.db").rename(tmp_path / DATABASE_FILE)
    server.start()
    try:
        assert epochs(tmp_path) == [("created", 0), ("rewound", None)]
        assert server.metric("tidings_epochs") == 2
        stream = first[0]["stream"]
        status, _ = asyncio.run(resumed(ana, stream, cursor_of(second[-1])))
        assert status["code"] == "cursor_diverged"
        status, _ = asyncio.run(resumed(ana, stream, cursor_of(first[-1])))
        assert status["ok"]
    finally:
        server.stop()


def test_a_backup_on_a_fresh_machine_is_a_working_server(tmp_path: Path) -> None:
    """Accounts, history, tokens and data sets are all there; secrets are their owner's alone."""
    log = tmp_path / "log.csv"
    log.write_text("timestamp,model,input_tokens,output_tokens\n2026-01-01,gpt-4o,10,20\n")
    backup, fresh = tmp_path / "backup", tmp_path / "fresh"
    with serving(tmp_path / "data", ENDINGS) as server:
        [ana] = asyncio.run(add_users(server, "ana"))
        file_id = asyncio.run(ana.upload(log))
        events = asyncio.run(asked(ana, "one", files=[file_id]))
        ran = tidings("backup", backup, "--data-dir", server.data_dir)
    assert ran == Ran(0, ran.out, "")
    assert "1 data sets" in ran.out
    assert (backup / "secrets/signing.key").stat().st_mode & 0o777 == 0o600
    assert backup.stat().st_mode & 0o777 == 0o700
    assert tidings("restore", backup, "--data-dir", fresh).status == 0
    assert list(fresh.glob("replaced-*")) == []
    [kept] = (fresh / "files").glob(f"*/{file_id}/usage.duckdb")
    [copied] = (tmp_path / "data" / "files").glob(f"*/{file_id}/usage.duckdb")
    assert kept.read_bytes() == copied.read_bytes()
    with serving(fresh, ENDINGS) as server:
        moved = User(server, "ana", ana.token, ana.id)
        assert fetched(moved, f"/api/files/{file_id}")["name"] == "log.csv"
        _, told = asyncio.run(resumed(moved, events[0]["stream"], cursor_of(events[0])))
        assert [e["event_id"] for e in told] == [e["event_id"] for e in events[1:]]
        assert epochs(fresh)[1:] == [("restored", None)]
        assert asyncio.run(asked(moved, "two", files=[file_id]))[-1]["type"] == "agent_completed"


def test_a_backup_under_load_is_of_one_moment(tmp_path: Path) -> None:
    """Runs come and go while three backups are taken; each of these is whole and sound."""

    async def load(user: User) -> None:
        for number in range(10**6):  # some runs a connection: connections are rationed too
            async with user.connected() as client:
                for run in range(10):
                    id = f"m-{user.name}-{number}-{run}"
                    accepted = await client.ask(user.name, id, agent="completes")
                    await client.until_end(accepted["run_id"])

    async def scenario(server: ServerProcess) -> None:
        users = await add_users(server, "ana", "bob", "eve")
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(load(user)) for user in users]
            for number in range(3):
                target = tmp_path / f"backup{number}"
                process = start("backup", target, "--data-dir", server.data_dir)
                assert await asyncio.to_thread(process.wait, 30) == 0
                process.communicate()
                _check_one_moment(target / DATABASE_FILE)
            for task in working:
                task.cancel()

    with serving(tmp_path / "data", ENDINGS) as server:
        asyncio.run(scenario(server))
        assert epochs(server.data_dir) == [("created", 0)]
    counts = [
        len(ids_of(tmp_path / f"backup{n}" / DATABASE_FILE, "event_id", "events")) for n in (0, 2)
    ]
    assert counts[0] < counts[1], "there was no load"


def _check_one_moment(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        holes = connection.execute(
            "select s.stream from streams s left join events e on e.stream = s.stream"
            ' group by s.stream having s.head <> count(e."offset")'
            ' or s.head <> coalesce(max(e."offset"), 0)'
        ).fetchall()
        halves = connection.execute(
            "select run_id from runs r where (state = 'ended') <> exists (select 1 from events e"
            " where e.run_id = r.run_id and e.type = 'agent_completed')"
        ).fetchall()
    assert (holes, halves) == ([], [])


def _spoil(path: Path) -> None:
    """Overwrite pages in the middle, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 12)


def test_f28_a_damaged_store_is_refused_after_a_crash_and_a_restore_mends_it(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    server = ServerProcess(data, ENDINGS)
    server.start()
    [ana] = asyncio.run(add_users(server, "ana"))
    events = asyncio.run(asked(ana, "one"))
    assert tidings("backup", backup, "--data-dir", data).status == 0
    server.kill()
    with closing(sqlite3.connect(data / DATABASE_FILE)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    _spoil(data / DATABASE_FILE)
    refused(tidings("serve", "--data-dir", data, "--port", "0"), "store_damaged")
    ran = tidings("restore", backup, "--data-dir", data)
    assert (ran.status, ran.err) == (0, "")
    server.start()
    try:
        _, told = asyncio.run(resumed(ana, events[0]["stream"], cursor_of(events[0])))
        assert len(told) == len(events) - 1
        assert [why for why, _ in epochs(data)] == ["created", "restored"]
    finally:
        server.stop()


@pytest.mark.parametrize("stop", ["stop", "kill"])
def test_an_ordinary_end_of_a_server_begins_no_epoch(tmp_path: Path, stop: str) -> None:
    server = ServerProcess(tmp_path, ENDINGS)
    for _ in range(3):
        server.start()
        getattr(server, stop)()
    assert epochs(tmp_path) == [("created", 0)]
