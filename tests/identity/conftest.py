"""An Identity on real parts: SQLite, argon2, a signing key; only the clock is by hand."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.time import CountingIds, ManualClock
from tests.stores import store_in
from tidings.identity.passwords import Passwords
from tidings.identity.service import Identity
from tidings.identity.tokens import AccessTokens
from tidings.storage.hot.memory import MemoryTickets

KEY = b"k" * 32


@dataclass
class World:
    identity: Identity
    tokens: AccessTokens
    clock: ManualClock


@pytest.fixture(scope="session")
def passwords() -> Iterator[Passwords]:
    pool = Passwords()
    yield pool
    pool.close()


@pytest.fixture
def world(passwords: Passwords, tmp_path: Path) -> Iterator[World]:
    database = store_in(tmp_path, engine="sqlite")  # each test is in several event loops
    clock, tokens = ManualClock(), AccessTokens(KEY)
    tickets = MemoryTickets(clock)
    yield World(Identity(database, tokens, passwords, tickets, clock, CountingIds()), tokens, clock)
    asyncio.run(database.close())
