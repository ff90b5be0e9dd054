"""The roster on both engines: nodes meet in the store, leave it in order, or are missed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.fakes.ports import ManualClock
from tests.storage.units import run
from tests.stores import ENGINES
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.health.nodes import GONE_SECONDS, Node, NodeReport
from tidings.health.roster import BEAT_SECONDS, Roster
from tidings.router import upkeep
from tidings.storage.warm.port import Database, Store, Transaction

pytestmark = pytest.mark.parametrize("engine", ENGINES)

WORKS, SERVES = NodeReport(room=16, running=2), NodeReport(connections=7)


def roster(database: Database, role: str, clock: ManualClock, number: int = 1) -> Roster:
    name = f"{role}{number}"
    return Roster(database, Node(f"n_{name}", name, role, "0.1.0", clock.now()), 4, clock)


def seen(one: Roster) -> list[tuple[str, str]]:
    return [(node.name, node.state) for node in one.nodes]


def test_nodes_hear_of_each_other_and_of_who_leaves(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        gateway, worker = roster(database, "gateway", clock), roster(database, "worker", clock)
        assert (gateway.nodes, gateway.room) == ((), 4)
        await worker.beat(WORKS)
        await gateway.beat(SERVES)
        assert seen(gateway) == [("gateway1", "up"), ("worker1", "up")]
        assert gateway.room == 16
        assert [node.running for node in gateway.nodes] == [0, 2]
        assert [node.connections for node in gateway.nodes] == [7, 0]
        await worker.leave()
        await gateway.beat(SERVES)
        assert (seen(gateway), gateway.room) == ([("gateway1", "up")], 0)

    run(tmp_path, engine, scenario)


def test_workers_are_not_missed_while_a_fleet_begins(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        gateway = roster(database, "gateway", clock)
        await gateway.beat(SERVES)
        clock.advance(GONE_SECONDS)
        await gateway.beat(SERVES)
        assert gateway.room == 4
        clock.advance(BEAT_SECONDS)
        await gateway.beat(SERVES)
        assert gateway.room == 0

    run(tmp_path, engine, scenario)


def test_a_node_that_falls_silent_is_gone_and_is_back_when_it_is_heard(
    tmp_path: Path, engine: str
) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        gateway, worker = roster(database, "gateway", clock), roster(database, "worker", clock)
        await worker.beat(WORKS)
        for _ in range(round(GONE_SECONDS / BEAT_SECONDS) + 1):
            await gateway.beat(SERVES)
            assert gateway.room == 16
            clock.advance(BEAT_SECONDS)
        await gateway.beat(SERVES)
        assert (seen(gateway)[-1], gateway.room) == (("worker1", "gone"), 0)
        await worker.beat(WORKS)
        await gateway.beat(SERVES)
        assert (seen(gateway)[-1], gateway.room) == (("worker1", "up"), 16)

    run(tmp_path, engine, scenario)


class Shut:
    """A fake store that lets nobody in while it is shut."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.is_shut = False

    async def write(self, scope: Any, work: Callable[..., Any]) -> Any:
        if self.is_shut:
            raise Unavailable("storage_unavailable", "away")
        return await self._inner.write(scope, work)

    async def read(self, *_: object) -> NoReturn:
        raise AssertionError


def test_after_the_store_was_away_nobody_is_taken_for_gone(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock, store = ManualClock(), Shut(database)
        gateway, worker = roster(store, "gateway", clock), roster(store, "worker", clock)
        await worker.beat(WORKS)
        await gateway.beat(SERVES)
        store.is_shut = True
        clock.advance(10 * GONE_SECONDS)
        await gateway.beat(SERVES)
        await gateway.leave()
        assert gateway.room == 16
        store.is_shut = False
        await gateway.beat(SERVES)
        assert seen(gateway)[-1] == ("worker1", "up")

    run(tmp_path, engine, scenario)


def test_who_begins_knows_at_once_who_is_gone(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        await roster(database, "worker", clock).beat(WORKS)
        clock.advance(3600.0)
        gateway = roster(database, "gateway", clock)
        await gateway.beat(SERVES)
        assert (seen(gateway)[-1], gateway.room) == (("worker1", "gone"), 0)

    run(tmp_path, engine, scenario)


def test_who_stands_in_the_place_of_another_may_leave_without_that_one_being_missed_again(
    tmp_path: Path, engine: str
) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        await roster(database, "worker", clock, 1).beat(WORKS)
        clock.advance(2 * GONE_SECONDS)
        second, gateway = roster(database, "worker", clock, 2), roster(database, "gateway", clock)
        await second.beat(WORKS)
        await gateway.beat(SERVES)
        assert seen(gateway) == [("gateway1", "up"), ("worker2", "up")]
        await second.leave()
        await gateway.beat(SERVES)
        assert seen(gateway) == [("gateway1", "up")]

    run(tmp_path, engine, scenario)


def test_a_report_of_another_version_hides_no_node(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        gateway = roster(database, "gateway", clock)

        async def newer(tx: Transaction) -> None:
            for number, report in enumerate(('{"room": 8, "mood": "fine"}', "[]", "?")):
                name = f"worker{number}"
                await tx.execute(
                    "insert into nodes values (?, ?, 'worker', '9.0.0', 0, ?, ?)",
                    name,
                    name,
                    clock.now(),
                    report,
                )

        await database.write(SERVER, newer)
        await gateway.beat(SERVES)
        assert [node.version for node in gateway.nodes] == ["0.1.0", "9.0.0", "9.0.0", "9.0.0"]
        assert gateway.room == 8

    run(tmp_path, engine, scenario)


def test_a_node_that_never_came_leaves_without_a_word(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, notes: list[object]) -> None:
        store = Shut(database)
        await roster(store, "worker", ManualClock()).leave()

    run(tmp_path, engine, scenario)


def test_who_is_gone_is_forgotten_after_a_day(tmp_path: Path, engine: str) -> None:
    async def scenario(database: Store, _notes: list[object]) -> None:
        clock = ManualClock()
        await roster(database, "worker", clock, 1).beat(WORKS)
        clock.advance(upkeep.NODE_KEPT_SECONDS - 60.0)
        await roster(database, "gateway", clock).beat(SERVES)
        await forget(database, clock)
        assert await known(database) == ["gateway1", "worker1"]
        clock.advance(120.0)
        await forget(database, clock)
        assert await known(database) == ["gateway1"]

    run(tmp_path, engine, scenario)


async def forget(database: Database, clock: ManualClock) -> None:
    before = clock.now() - upkeep.NODE_KEPT_SECONDS

    async def work(tx: Transaction) -> None:
        found = await upkeep._find(tx, upkeep.NODES, before)
        await upkeep._remove(tx, upkeep.NODES, found)

    await database.write(SERVER, work)


async def known(database: Database) -> list[str]:
    async def work(tx: Transaction) -> list[str]:
        return [name for (name,) in await tx.execute("select name from nodes order by name")]

    return await database.read(SERVER, work)
