"""The health of a fleet of real processes: a gateway knows all nodes, and users are told."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from tests.faults.devices import device
from tests.fleet.nodes import Fleet, fleet
from tests.harness.postgres import postgres
from tidings.app import App, build
from tidings.cli.ask import Server
from tidings.cli.health import EXITS, show_health
from tidings.client.http import Api
from tidings.domain.commands import StartAgent, StartPayload
from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict
from tidings.health.overview import Concern
from tidings.settings import load
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.3
OF_FLEET = ("no_worker", "nodes_gone", "nodes_differ")
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
    """Return what is not well with the fleet; a busy machine may raise other concerns."""
    return [c["code"] for c in health["concerns"] if c["code"] in OF_FLEET]


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
        admin, (worker,) = await administrator(nodes), nodes.workers
        api = Api(nodes.gateways[0].url, admin)
        health = await until(api, lambda health: roles(health) == BOTH)
        assert codes(health) == []
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
        shown = await printed(nodes.gateways[0].url, admin)
        for said in ("no_worker", "worker, gone, heard", "gateway (this one)"):
            assert said in shown
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


async def printed(url: str, token: str) -> str:
    """Return what `tidings health` prints."""
    console = Console(file=io.StringIO(), record=True, width=200)
    assert await show_health(Server(url, token), console) == EXITS["down"]
    return console.export_text()


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


def test_nodes_that_do_not_share_what_they_should_are_named(tmp_path: Path) -> None:
    url = postgres().database()
    ours = {"data_dir": tmp_path / "one", "database_url": url, "run_seconds": 60.0}
    theirs = ours | {
        "data_dir": tmp_path / "two",
        "key_file": str(tmp_path / "one/secrets/signing.key"),
    }

    async def scenario() -> None:
        one, same, other = (build(load(settings, {})) for settings in (ours, ours, theirs))
        for app in (one, same, other):
            await app.begin()
        async with one.running(), same.running(), other.running():
            [concern] = [c for c in await told(other) if c.code in OF_FLEET]
        assert concern.code == "nodes_differ"
        assert concern.detail.count("has other folders of uploads than") == 2
        for app in (one, same, other):
            await app.close()

    asyncio.run(scenario())
    postgres().drop(url)


async def told(app: App) -> tuple[Concern, ...]:
    """Return the concerns of an app that has heard of two others."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(app._kept.roster.nodes) < 3:  # noqa: ASYNC110 - they are like other processes
            await asyncio.sleep(0.1)
    return (await app.services.health.now()).concerns
