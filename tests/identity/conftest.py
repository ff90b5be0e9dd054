"""An Identity on real parts: SQLite, argon2, a signing key; only the clock is by hand."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.ports import CountingIds, ManualClock
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import Tokens
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.hot.memory import LocalOnce, LocalRates
from tidings.storage.warm.sqlite import SqliteDatabase

KEY = b"k" * 32


@dataclass
class World:
    identity: Identity
    tokens: Tokens
    clock: ManualClock


@pytest.fixture(scope="session")
def passwords() -> Iterator[Passwords]:
    pool = Passwords()
    yield pool
    pool.close()


@pytest.fixture
def world(passwords: Passwords, tmp_path: Path) -> Iterator[World]:
    database = SqliteDatabase.open(tmp_path / DATABASE_FILE, lambda note: None)
    clock, tokens = ManualClock(), Tokens(KEY)
    tickets = LocalOnce(clock)
    yield World(
        Identity(database, tokens, passwords, tickets, LocalRates(clock), clock, CountingIds()),
        tokens,
        clock,
    )
    asyncio.run(database.close())
