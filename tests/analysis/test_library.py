"""The library: what is added is there, what failed is gone, and nobody sees another's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tools.workshop import ALICE, chunked, run
from tidings.analysis.library import Library, LibraryLimits
from tidings.analysis.sandbox.pool import Sandbox
from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput, LimitExceeded, NotFound, TidingsError

BOB = UserContext("t_1", "u_bob", "s_2")
LOG = b"timestamp,model,prompt_tokens\n2024-01-01,gpt-4o,10\n"
TIGHT = LibraryLimits(file_bytes=1000, user_files=3, user_bytes=150)


def left_on_disk(root: Path) -> list[Path]:
    return [path for path in (root / "files").rglob("*") if path.is_file()]


def test_an_upload_is_stored_under_a_name_of_our_own(tmp_path: Path) -> None:
    async def scenario(library: Library, sandbox: Sandbox) -> None:
        stored = await library.add(ALICE, "../../etc/my log.csv", chunked(LOG))
        assert (stored.name, stored.bytes) == ("my log.csv", len(LOG))
        assert stored.import_report.rows == 1
        assert await library.get(ALICE, stored.file_id) == stored
        assert await library.list(ALICE) == (stored,)
        dataset = await library.dataset(ALICE, [stored.file_id, stored.file_id])
        assert dataset.fields == {"ts", "model", "input_tokens"}
        assert dataset.models == ((None, "gpt-4o"),)
        answer = await sandbox.query(dataset, "select sum(input_tokens) from usage", {})
        assert answer.rows == ((10,),)
        assert left_on_disk(tmp_path) == [
            tmp_path / "files" / "u_alice" / stored.file_id / "usage.duckdb"
        ]

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/etc/passwd", "passwd"),
        ("C:\\logs\\x.csv", "x.csv"),
        ("CON", "CON"),
        ("..", ".."),
        ("a\tb\x1b[31m.csv", "a_b_[31m.csv"),
        ("é.csv", "é.csv"),
        ("x" * 400 + ".csv", "x" * 252 + ".csv"),
        ("dir/", "file"),
    ],
)
def test_a_name_is_only_shown_and_never_a_path(tmp_path: Path, name: str, shown: str) -> None:
    stored = run(tmp_path, lambda library, _: library.add(ALICE, name, chunked(LOG)))
    assert stored.name == shown


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb.csv", "a\r.csv"])
def test_a_name_with_nul_or_line_breaks_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        run(tmp_path, lambda library, _: library.add(ALICE, name, chunked(LOG)))
    assert refused.value.code == "invalid_name"


def test_after_a_refusal_nothing_is_left(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LOG
        raise ConnectionResetError

    async def scenario(library: Library, sandbox: Sandbox) -> None:
        with pytest.raises(TidingsError):
            await library.add(ALICE, "log.csv", chunked(b"\x7fELF" + bytes(50)))
        with pytest.raises(LimitExceeded) as refused:
            await library.add(ALICE, "log.csv", chunked(b"x" * 1001))
        assert (refused.value.code, refused.value.status) == ("file_too_large", 413)
        with pytest.raises(ConnectionResetError):
            await library.add(ALICE, "log.csv", broken())
        assert await library.list(ALICE) == ()
        assert left_on_disk(tmp_path) == []
        await library.add(ALICE, "log.csv", chunked(LOG))

    run(tmp_path, scenario, TIGHT)


def test_the_limit_bites_at_the_first_byte_too_many(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 100
            yield b"x" * 100

    limits = LibraryLimits(file_bytes=1000)
    with pytest.raises(LimitExceeded):
        run(tmp_path, lambda library, _: library.add(ALICE, "log.csv", endless()), limits)
    assert taken == 1100


def test_uploads_at_once_cannot_pass_the_quota_together(tmp_path: Path) -> None:
    async def attempt(library: Library) -> bool:
        try:
            await library.add(ALICE, "log.csv", chunked(LOG))
        except LimitExceeded as error:
            assert error.code == "quota_exceeded"  # noqa: PT017 - the others must succeed
            return False
        return True

    async def scenario(library: Library, sandbox: Sandbox) -> None:
        async with asyncio.TaskGroup() as tasks:
            uploads = [tasks.create_task(attempt(library)) for _ in range(6)]
        kept = sum(upload.result() for upload in uploads)
        files = await library.list(ALICE)
        assert kept == len(files)
        assert sum(file.bytes for file in files) <= TIGHT.user_bytes
        await library.add(BOB, "log.csv", chunked(LOG))

    run(tmp_path, scenario, TIGHT)


def test_another_users_files_are_as_unknown_ones(tmp_path: Path) -> None:
    async def scenario(library: Library, sandbox: Sandbox) -> None:
        stored = await library.add(ALICE, "log.csv", chunked(LOG))
        for file_id in (stored.file_id, "f_unknown", "../u_alice"):
            for attempt in (library.get, library.delete):
                with pytest.raises(NotFound):
                    await attempt(BOB, file_id)
            with pytest.raises(NotFound):
                await library.dataset(BOB, [file_id])
        assert await library.list(BOB) == ()
        assert await library.list(ALICE) == (stored,)

    run(tmp_path, scenario)


def test_a_deleted_file_is_gone_and_its_quota_free(tmp_path: Path) -> None:
    async def scenario(library: Library, sandbox: Sandbox) -> None:
        for _ in range(4):
            stored = await library.add(ALICE, "log.csv", chunked(LOG))
            await library.delete(ALICE, stored.file_id)
            with pytest.raises(NotFound):
                await library.get(ALICE, stored.file_id)
        assert left_on_disk(tmp_path) == []

    run(tmp_path, scenario, TIGHT)


def test_what_an_upload_cut_off_by_a_crash_left_is_swept(tmp_path: Path) -> None:
    async def scenario(library: Library, sandbox: Sandbox) -> None:
        kept = await library.add(ALICE, "log.csv", chunked(LOG))
        await library._reserve(ALICE, "f_dead", "log.csv")
        dead = tmp_path / "files" / "u_alice" / "f_dead"
        dead.mkdir()
        (dead / "upload").write_bytes(LOG)
        assert await library.sweep(before=kept.created_at) == 0
        assert await library.sweep(before=kept.created_at + 1) == 1
        assert not dead.exists()
        assert await library.list(ALICE) == (kept,)

    run(tmp_path, scenario)


def test_without_a_file_the_user_is_asked_for_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="upload"):
        run(tmp_path, lambda library, _: library.dataset(ALICE, ()))
