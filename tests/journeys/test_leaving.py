"""Somebody is deleted while their client is connected and a run of theirs is under way."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.harness.cli import Ran, refused, tidings
from tests.harness.server import ROOT, ServerProcess, User, add_users, serving
from tests.stores import rows_of

LOG = "ts,model,feature,input_tokens,output_tokens\n2026-01-01T00:00:00Z,gpt-4o,chat,1000,10\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose agent asks a question, and waits."""
    with serving(tmp_path / "data", ROOT / "tests/harness/programs/asking.py") as process:
        yield process


def fetched(user: User, path: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {user.token}"}
    return httpx2.get(f"{user.server.url}{path}", headers=headers)


def said(user: User, text: str, file_id: str) -> None:
    payload = {"text": text, "files": [file_id]}
    body = {"type": "chat", "id": "m1", "payload": payload}
    headers = {"Authorization": f"Bearer {user.token}"}
    httpx2.post(f"{user.server.url}/api/commands", json=body, headers=headers).raise_for_status()


async def moved_in(user: User, log: Path) -> None:
    """Have a file, a thread, and a run in it that comes to wait."""
    file_id = await user.upload(log)
    await asyncio.to_thread(said, user, f"A server for {user.name}.", file_id)


def test_who_is_deleted_is_out_at_once_and_nothing_of_them_is_left(
    server: ServerProcess, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    folder = ("--data-dir", server.data_dir)

    async def scenario() -> tuple[User, User]:
        ana, bob = await add_users(server, "ana", "bob")
        for user in (ana, bob):
            await moved_in(user, log)
        files = server.data_dir / "files"
        assert len(list(files.glob("u_*"))) == 2
        async with ana.connected() as hers, bob.connected() as his:
            told = ("user", "delete", "ana", "--yes", *folder)
            ran = await asyncio.to_thread(tidings, *told)
            assert ran == Ran(0, "deleted ana: 1 threads, 1 files\n", "")
            assert await hers.closed() == 4401
            assert len(list(files.glob("u_*"))) == 1
            assert his.socket.close_code is None
        return ana, bob

    ana, bob = asyncio.run(scenario())
    assert fetched(ana, "/api/threads").json()["code"] == "session_revoked"
    assert "A server for ana." not in json.dumps(
        rows_of(server.data_dir, "select request from runs")
    )
    (thread,) = fetched(bob, "/api/threads").json()["threads"]
    assert thread["title"] == "A server for bob."
    assert tidings("user", "list", *folder).out == "bob\n"
    refused(tidings("user", "delete", "ana", "--yes", *folder), "not_found")
    (again,) = asyncio.run(add_users(server, "ana"))
    assert fetched(again, "/api/threads").json()["threads"] == []
    assert fetched(again, "/api/files").json()["files"] == []


def test_nobody_is_deleted_without_a_word(server: ServerProcess) -> None:
    asyncio.run(add_users(server, "ana"))
    told = ("user", "delete", "ana", "--data-dir", server.data_dir)
    refused(tidings(*told, stdin="y\n"), "no_terminal")
    assert tidings(*told, typed="n\n").status != 0
    assert tidings("user", "list", "--data-dir", server.data_dir).out == "ana\n"
    assert tidings(*told, typed="y\n").status == 0
    assert tidings("user", "list", "--data-dir", server.data_dir).out == ""
