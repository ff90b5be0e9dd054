"""All nodes have one signing key: who comes with another is told what to do."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.ports import ManualClock
from tests.storage.units import run
from tests.stores import ENGINES
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict
from tidings.identity.agreement import SigningKey
from tidings.storage.warm.port import Store

pytestmark = pytest.mark.parametrize("engine", ENGINES)

OURS, THEIRS = b"o" * 32, b"t" * 32


def test_the_first_key_is_the_one_and_another_is_refused(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(SigningKey(database, OURS, ManualClock()).check())
        with pytest.raises(Conflict) as refusal:
            await SigningKey(database, THEIRS, ManualClock()).check()
        assert refusal.value.code == "key_differs"
        assert "TIDINGS_KEY_FILE" in refusal.value.message
        assert "accept-key" in refusal.value.message

    run(tmp_path, engine, scenario)


def test_a_key_that_was_accepted_takes_the_place_of_the_old_one(
    tmp_path: Path, engine: str
) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        old, new = (SigningKey(database, key, ManualClock()) for key in (OURS, THEIRS))
        await old.check()
        await new.accept()
        await new.check()
        with pytest.raises(Conflict):
            await old.check()

    run(tmp_path, engine, scenario)


def test_the_store_has_nothing_that_the_key_could_be_told_from(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        for key in (OURS, THEIRS):
            await SigningKey(database, key, ManualClock()).accept()
            [(name, fingerprint)] = await database.read(
                SERVER, lambda tx: tx.execute("select name, fingerprint from agreements")
            )
            assert name == "signing key"
            assert len(fingerprint) == 64
            assert key.hex() not in fingerprint

    run(tmp_path, engine, scenario)
