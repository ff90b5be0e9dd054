"""Deliberate defects, one at a time: each must be noticed, or the machine proves nothing."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.machine.device import SteppedDevice
from tests.machine.shelf import SteppedDatabase
from tests.machine.walk import walk
from tidings.domain.commands import Receipt
from tidings.domain.context import Scope, UserContext
from tidings.domain.cursors import cursor_of
from tidings.domain.errors import TidingsError
from tidings.events import log
from tidings.events.feed import Feed
from tidings.events.log import Page
from tidings.protocol.client import Apply, Happening
from tidings.protocol.connection import Connection
from tidings.protocol.effects import Effect
from tidings.protocol.frames import UnknownType
from tidings.storage.warm.port import T, Work

SEEDS = range(400)
"""A hundred thousand steps: the defect must show in them."""


def first_red(database: type[SteppedDatabase] = SteppedDatabase) -> tuple[int, str]:
    """Return the first seed whose walk fails, and what it says."""
    for seed in SEEDS:
        try:
            walk(seed, database)
        except AssertionError as error:
            return seed, str(error)
    pytest.fail("nobody noticed")


class RehearsingDatabase(SteppedDatabase):
    """Tells of a unit of work before it is committed."""

    async def write(self, scope: Scope, work: Work[T]) -> T:
        notes: list[object] = []
        try:
            self._rehearse(work, notes)
        finally:
            for note in notes:
                self._announce(note)
        await self._pause()
        return await super().write(scope, work)

    def _rehearse(self, work: Work[T], notes: list[object]) -> None:
        async def undone(tx: Any) -> None:
            await work(tx)
            raise _Undone

        try:
            self._unit(undone, notes)
        except _Undone:
            return


class _Undone(Exception):
    """Rolls a rehearsal back."""


def test_publishing_before_the_commit_is_noticed() -> None:
    seed, told = first_red(RehearsingDatabase)
    assert re.search(r"not in the store|differs from the store|before its commit", told)
    walk(seed)


def test_a_cursor_whose_tail_is_not_checked_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def believe(*arguments: object) -> None:
        """Take a cursor for good."""

    with monkeypatch.context() as patch:
        patch.setattr(log, "_check_lineage", believe)
        seed, told = first_red()
    assert re.search(r"the store has lost|not in the store|differs from the store", told)
    walk(seed)


def test_one_lost_event_in_ten_thousand_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: Iterator[int] = count(1)
    read = Feed.read

    async def lossy(self: Feed, context: UserContext, stream: str, after: int, limit: int) -> Page:
        epoch, entries = await read(self, context, stream, after, limit)
        return Page(epoch, [entry for entry in entries if next(passed) % 10_000])

    with monkeypatch.context() as patch:
        patch.setattr(Feed, "read", lossy)
        seed, told = first_red()
    assert next(passed) > 10_000
    assert re.search(r"has a gap|the store is well|stands at", told)
    walk(seed)


def test_an_acknowledged_unknown_type_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Connection.failed

    def polite(self: Connection, error: TidingsError, ref: str | None, now: float) -> list[Effect]:
        if isinstance(error, UnknownType):
            return self.accepted(Receipt(ref or "", "r_1", "t_1", 1))
        return failed(self, error, ref, now)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "failed", polite)
        seed, told = first_red()
    assert "is no command and was accepted" in told
    walk(seed)


def test_a_cursor_that_moves_before_its_event_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program dies between the two, and what it had not applied never comes again."""
    hear = SteppedDevice._hear

    def hasty(self: SteppedDevice, happenings: list[Happening], most: int | None) -> None:
        for happening in happenings:
            if isinstance(happening, Apply) and happening.event.stream in self.shown:
                event = happening.event
                cursor = cursor_of(event.epoch, event.offset, event.event_id)
                self.shown[event.stream].cursor = str(cursor)
        hear(self, happenings, most)

    with monkeypatch.context() as patch:
        patch.setattr(SteppedDevice, "_hear", hasty)
        seed, told = first_red()
    assert "shown up to" in told
    walk(seed)
