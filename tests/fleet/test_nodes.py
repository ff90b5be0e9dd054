"""Two gateways and two workers: whichever dies, halts or is replaced, clients see one story."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.devices import Device, device
from tests.fleet.nodes import Fleet, fleet, new_queue
from tests.harness.proxy import proxying
from tests.harness.running import running
from tests.harness.stopwatch import stopwatch
from tests.harness.temporal import TemporalAddress, TemporalServer
from tests.invariants import check
from tidings.domain.commands import Receipt, StartAgent, StartPayload

FAILOVER_SECONDS_MAX = 5.0
PAYMENTS = 40
FENCED = "tidings_fenced_writes_total"

Brought = dict[str, str]


@pytest.fixture(params=["looking", "temporal"])
def brought(request: pytest.FixtureRequest) -> Brought:
    """How workers get their runs: they look, or Temporal brings them."""
    if request.param == "looking":
        return {}
    return by(request.getfixturevalue("temporal"))


def by(server: TemporalAddress) -> Brought:
    """Have runs brought by a server, on a task queue of the test's own."""
    return {"TIDINGS_TEMPORAL_ADDRESS": server.address, "TIDINGS_TEMPORAL_QUEUE": new_queue()}


async def start(client: Device, count: int, id: str) -> Receipt:
    return await client.session.send(StartAgent(id, StartPayload(f"pay {count}", "payer")))


async def applied(client: Device, count: int) -> None:
    await client.until(lambda: client.count >= count)


def test_the_gateway_and_the_worker_die_and_the_client_goes_on_within_seconds(
    tmp_path: Path, brought: Brought
) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        first, second = nodes.gateways
        async with proxying(first.port) as proxy, device(proxy.url, ana, token, "d1") as client:
            receipt = await start(client, PAYMENTS, "m1")
            await applied(client, 20)
            async with stopwatch(tmp_path) as watch:
                nodes.payer().kill()
                proxy.target = second.port
                first.kill()
                await applied(client, client.count + 3)
            assert watch.seconds < FAILOVER_SECONDS_MAX
            await client.until_end(receipt)
            summary = client.ends[receipt.run_id].payload["summary"]
            assert summary["attempts"] == 2
            stored = nodes.stored()
            check(stored, [client.history], at_head=True, ended=True, proven=True)
        nodes.check_payments()
        assert len({pid for pid, _ in nodes.payments}) == 2

    with fleet(tmp_path, brought) as nodes:
        asyncio.run(scenario(nodes))


def test_a_worker_that_was_halted_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        async with device(nodes.gateways[0].url, ana, token, "d1") as client:
            receipt = await start(client, PAYMENTS, "m1")
            await applied(client, 20)
            halted = nodes.payer()
            os.kill(halted.pid, signal.SIGSTOP)
            await applied(client, client.count + 10)
            assert nodes.payer() is not halted
            os.kill(halted.pid, signal.SIGCONT)
            await client.until_end(receipt)
            another = await start(client, 1, "m2")
            await client.until_end(another)
            assert halted.metric(FENCED) <= 1  # awake; or it was cut off in the middle of a write
            stored = nodes.stored()
            check(stored, [client.history], at_head=True, ended=True, proven=True)
        nodes.check_payments()
        assert sum(node.metric(FENCED) for node in nodes.nodes) <= 1

    with fleet(tmp_path, {}, gateways=1) as nodes:
        asyncio.run(scenario(nodes))


def test_every_node_is_replaced_under_load_and_nothing_is_lost_or_doubled(
    tmp_path: Path, temporal: TemporalAddress
) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        bob, bobs = await nodes.user("bob")
        first, second = nodes.gateways
        async with (
            proxying(first.port) as proxy,
            device(proxy.url, ana, token, "d1") as one,
            device(proxy.url, bob, bobs, "d1") as two,
        ):
            receipts = [await start(one, 80, f"m{n}") for n in range(3)]
            others = [await start(two, 80, f"m{n}") for n in range(3)]
            for node, elsewhere in ((first, second), (second, first)):
                proxy.target = elsewhere.port
                assert await asyncio.to_thread(node.stop) == 0
                await asyncio.to_thread(node.start)
            for worker in nodes.workers:
                assert await asyncio.to_thread(worker.stop) == 0
                await asyncio.to_thread(worker.start)
            await one.until_end(*receipts)
            await two.until_end(*others)
            histories = [one.history, two.history]
            check(nodes.stored(), histories, at_head=True, ended=True, proven=True)
        nodes.check_payments()

    with fleet(tmp_path, by(temporal)) as nodes:
        asyncio.run(scenario(nodes))


def test_f52_one_command_at_two_gateways_at_once_has_one_effect(tmp_path: Path) -> None:
    async def scenario(nodes: Fleet) -> None:
        ana, token = await nodes.user("ana")
        urls = [gateway.url for gateway in nodes.gateways]
        async with (
            device(urls[0], ana, token, "d1") as one,
            device(urls[1], ana, token, "d2") as two,
        ):
            for number in range(10):
                async with asyncio.TaskGroup() as tasks:
                    sent = [
                        tasks.create_task(start(client, 1, f"m{number}")) for client in (one, two)
                    ]
                here, there = (task.result() for task in sent)
                assert here.run_id == there.run_id
                assert {here.duplicate, there.duplicate} == {False, True}
                await one.until_end(here)
        assert len(nodes.payments) == 10
        nodes.check_payments()

    with fleet(tmp_path, {}, workers=1) as nodes:
        asyncio.run(scenario(nodes))


def test_while_temporal_is_away_commands_are_taken_and_runs_end(tmp_path: Path) -> None:
    async def scenario(nodes: Fleet, kill: Callable[[], None], again: Callable[[], None]) -> None:
        ana, token = await nodes.user("ana")
        async with device(nodes.gateways[0].url, ana, token, "d1") as client:
            begun = await start(client, 40, "m1")
            await applied(client, 10)
            await asyncio.to_thread(kill)
            meanwhile = await start(client, 3, "m2")
            await client.until_end(begun, meanwhile)
            await asyncio.to_thread(again)
            await client.until_end(await start(client, 1, "m3"))
            assert [
                client.ends[receipt.run_id].payload["summary"]["attempts"]
                for receipt in (begun, meanwhile)
            ] == [1, 1]
            check(nodes.stored(), [client.history], at_head=True, ended=True, proven=True)
        nodes.check_payments()

    with running(TemporalServer) as server:
        queue = {"TIDINGS_TEMPORAL_ADDRESS": server.address}
        with fleet(tmp_path, queue, gateways=1) as nodes:
            asyncio.run(scenario(nodes, server.kill, server.start))
