"""The history is in backups; after a restore it shows what is, and nothing that never was."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import tidings
from tests.harness.server import ServerProcess, User, add_users
from tests.history.test_served import PROGRAM, administrator, chat, has_counted, until
from tidings.domain.context import SERVER
from tidings.storage.backups import DATABASE_FILE, HISTORY, KEY_FILE
from tidings.storage.cold.parquet import ParquetHistory

pytestmark = pytest.mark.embedded("backups are of a folder")


@pytest.mark.parametrize("what", ["the store alone", "the whole disk"])
def test_after_a_restore_the_history_shows_what_is_and_what_it_has_cost(
    tmp_path: Path, what: str
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    server = ServerProcess(data, PROGRAM)
    server.start()
    ana, admin, thread, gone = asyncio.run(_told_and_backed_up(server, backup))
    server.kill()
    inside = {path.name for path in backup.iterdir()}
    assert inside == {DATABASE_FILE, HISTORY, Path(KEY_FILE).parent.name}
    if what == "the whole disk":
        shutil.rmtree(data)
        data.mkdir()
    else:
        assert asyncio.run(story_of(data, gone)) != []
    assert tidings("restore", backup, "--data-dir", data).status == 0
    server.start()
    try:
        asyncio.run(_until_only_what_is(ana, admin, thread, gone, what))
    finally:
        server.stop()
    shown = tidings("replay", thread, "--data-dir", data).out
    assert ("before" in shown, "lost" in shown, "after" in shown) == (True, False, True)


async def _told_and_backed_up(server: ServerProcess, backup: Path) -> tuple[User, User, str, str]:
    """Have one thread in a backup, then a run more in it and another thread; all are kept."""
    (ana,) = await add_users(server, "ana")
    admin = await administrator(server)
    thread = await chat(ana, "before")
    await until(lambda: has_counted(admin, 1))
    ran = await asyncio.to_thread(tidings, "backup", backup, "--data-dir", server.data_dir)
    assert ran.status == 0
    await chat_in(ana, thread, "lost")
    gone = await chat(ana, "gone")
    await until(lambda: has_counted(admin, 3))
    return ana, admin, thread, gone


async def _until_only_what_is(ana: User, admin: User, thread: str, gone: str, what: str) -> None:
    async def has_left() -> bool:
        return await story_of(ana.server.data_dir, gone) == []

    await until(has_left)
    await chat_in(ana, thread, "after")
    await until(lambda: has_counted(admin, 2 if what == "the whole disk" else 3))


async def chat_in(user: User, thread: str, text: str) -> None:
    async with user.connected() as client:
        answer = await client.ask(text, text, agent="echo", thread_id=thread)
        await client.until_end(answer["run_id"])


async def story_of(data: Path, thread: str) -> list[Any]:
    """Return what the files have of a thread."""
    cold = ParquetHistory(data / HISTORY)
    try:
        return await cold.story(SERVER, thread, 0)
    finally:
        await cold.close()
