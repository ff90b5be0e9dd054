"""The health of a fleet of real processes: a gateway knows all nodes, and users are told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.devices import device
from tests.fleet.nodes import Fleet, fleet
from tests.harness.postgres import postgres
from tidings.app import build
from tidings.client.http import Api
from tidings.domain.commands import StartAgent, StartPayload
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict
from tidings.settings import load
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase

PATIENCE_SECONDS = 40.0
LOOK_SECONDS = 0.3
BOTH = [("gateway", "up"), ("worker", "up")]


async def administrator(nodes: Fleet) -> str:
    _, token = await nodes.user("root")
    settings = {"data_dir": nodes.data_dir, "database_url": nodes.database_url}
    app = build(load(settings, {}))
    try:
        await app.identity.appoint("root", admin=True)
    finally:
        await app.close()
    return token


async def until(api: Api, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look until the health is so: nodes are heard of every few seconds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not found(health := await api.health()):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(LOOK_SECONDS)
    return health


def roles(health: dict[str, Any]) -> list[tuple[str, str]]:
    return [(node["role"], node["state"]) for node in health["sections"]["nodes"]]


def codes(health: dict[str, Any]) -> list[str]:
    return [concern["code"] for concern in health["concerns"]]


async def silence(nodes: Fleet, pid: int) -> None:
    """Have a node that was killed be silent for a minute already."""

    async def work(tx: Transaction) -> None:
        await tx.execute("update nodes set heard_at = heard_at - 60 where name like ?", f"%:{pid}")

    database = PostgresDatabase(nodes.database_url, lambda note: None, Random(1))
    try:
        await database.write(SERVER, work)
    finally:
        await database.close()


def test_a_gateway_knows_all_nodes_and_who_asks_without_a_worker_is_told(tmp_path: Path) -> None:
    async def scenario(nodes: Fleet) -> None:
        api, (worker,) = Api(nodes.gateways[0].url, await administrator(nodes)), nodes.workers
        health = await until(api, lambda health: roles(health) == BOTH)
        assert health["state"] == "ok"
        here, there = health["sections"]["nodes"]
        assert (here["is_this"], here["room"], there["is_this"], there["room"]) == (
            True,
            0,
            False,
            16,
        )
        assert there["tiers"]["warm"] == "ok"
        assert there["name"].endswith(f":{worker.pid}")

        dead = worker.pid
        worker.kill()
        await silence(nodes, dead)
        health = await until(api, lambda health: codes(health) == ["no_worker"])
        assert health["state"] == "down"
        assert roles(health) == [("gateway", "up"), ("worker", "gone")]
        ana, token = await nodes.user("ana")
        async with device(nodes.gateways[0].url, ana, token, "d1") as client:
            receipt = await client.session.send(StartAgent("m1", StartPayload("pay 1", "payer")))
            stored = nodes.stored()
            assert sum(b'"no_worker"' in event.frame for event in stored.events) == 1
            await asyncio.to_thread(worker.start)
            await client.until_end(receipt)
        # The one that was killed is missed no more, also when its successor leaves in order.
        assert await asyncio.to_thread(worker.stop) == 0
        health = await until(api, lambda health: roles(health) == [("gateway", "up")])
        assert codes(health) == ["no_worker"]

    with fleet(tmp_path, {}, gateways=1, workers=1) as nodes:
        asyncio.run(scenario(nodes))


def test_a_node_with_another_signing_key_does_not_begin_until_the_key_is_accepted(
    tmp_path: Path,
) -> None:
    url = postgres().database()
    ours = {"data_dir": tmp_path, "database_url": url}
    theirs = ours | {"key_file": str(tmp_path / "another.key")}

    async def scenario() -> None:
        await begun(ours)
        with pytest.raises(Conflict) as refusal:
            await begun(theirs)
        assert refusal.value.code == "key_differs"
        await begun(theirs, accepting=True)
        with pytest.raises(Conflict):
            await begun(ours)

    asyncio.run(scenario())
    postgres().drop(url)


async def begun(settings: dict[str, Any], *, accepting: bool = False) -> None:
    app = build(load(settings, {}))
    try:
        if accepting:
            await app.accept_key()
        await app.begin()
    finally:
        await app.close()
