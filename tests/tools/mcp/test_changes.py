"""Tools are what was accepted: one that changes behind the operator's back is not called."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.programs.tool_server import INJECTION
from tests.tools.mcp.bench import Bench, bench, program
from tidings.tools.mcp import server as servers
from tidings.tools.mcp import servers as all_servers
from tidings.tools.mcp.listing import Listed


@pytest.fixture(autouse=True)
def _asked_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LISTING_SECONDS", 0.0)
    monkeypatch.setattr(servers, "RESTART_SECONDS", (0.05, 0.2))


def environment(path: Path) -> dict[str, str]:
    return {"NOTES": str(path / "notes")}


def change(path: Path) -> None:
    (path / "notes.changed").touch()


def description(at_work: Bench) -> str:
    return next(t.description for t in at_work.catalogue if t.name == "test.echo")


def test_the_digest_is_of_name_description_and_schema_in_any_order_of_keys() -> None:
    tool = Listed("echo", "Say it.", {"type": "object", "properties": {}})
    assert tool.digest == Listed("echo", "Say it.", {"properties": {}, "type": "object"}).digest
    assert len(tool.digest) == 64
    others = [
        Listed("ekho", "Say it.", tool.schema),
        Listed("echo", "Say it!", tool.schema),
        Listed("echo", "Say it.", {"type": "object"}),
    ]
    assert tool.digest not in {other.digest for other in others}


def test_a_changed_tool_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"test": program()}, environment=environment(tmp_path)) as it:
            await it.offers("test.echo")
            await it.call("test.echo", text="before")
            change(tmp_path)
            assert (await it.refused("test.echo", text="after")).code == "tool_changed"
            assert description(it) == "Say it again."
            assert "test.fresh" not in {tool.name for tool in it.catalogue}
            assert (await it.call("test.structure")).content == '{"degrees":21.5}'

            before = await it.servers.accept("test")
            told = {tool.name: tool.state for tool in before.tools}
            assert (told["echo"], told["fresh"], told["repeat"]) == ("changed", "new", "accepted")
            assert (await it.call("test.echo", text="after")).content.startswith("after")
            assert description(it) == INJECTION
            assert (await it.call("test.fresh")).content == "done"

    asyncio.run(scenario())


def test_a_tool_that_is_accepted_is_offered_without_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LOOK_SECONDS", 0.1)

    async def scenario() -> None:
        async with bench(tmp_path, {"test": program()}, environment=environment(tmp_path)) as it:
            await it.offers("test.echo")
            change(tmp_path)
            await it.servers.accept("test")
            await it.offers("test.fresh")

    asyncio.run(scenario())


def test_a_gateway_offers_what_workers_have_accepted_and_connects_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_servers, "FOLLOW_SECONDS", 0.1)
    told, offered = environment(tmp_path), {"test": program()}

    async def scenario() -> None:
        async with bench(tmp_path, offered, environment=told, works=False) as gateway:
            assert list(gateway.catalogue) == []
            async with bench(tmp_path, offered, environment=told) as worker:
                await gateway.offers("test.echo")
                change(tmp_path)
                await worker.servers.accept("test")
                await gateway.offers("test.fresh")
            assert description(gateway) == INJECTION
            (health,) = gateway.servers.health()
            assert (health.state, health.restarts) == ("starting", 0)

    asyncio.run(scenario())


def test_what_was_accepted_is_known_after_a_restart_and_before_the_server_is_up(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"test": program()}, environment=environment(tmp_path)) as it:
            await it.offers("test.echo")
        change(tmp_path)
        async with bench(tmp_path, {"test": program()}, environment=environment(tmp_path)) as it:
            assert description(it) == "Say it again."
            # The first call after a start waits for the first connection.
            assert (await it.call("test.structure")).content == '{"degrees":21.5}'
            assert (await it.refused("test.echo", text="x")).code == "tool_changed"

    asyncio.run(scenario())


def test_a_tool_that_was_accepted_and_is_not_listed_any_more_is_not_called(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        change(tmp_path)
        async with bench(tmp_path, {"test": program()}, environment=environment(tmp_path)) as it:
            await it.offers("test.fresh")
            (tmp_path / "notes.changed").unlink()
            assert (await it.refused("test.fresh")).code == "tool_changed"
            (finding,) = await it.servers.findings()
            assert {t.name: t.state for t in finding.tools}["fresh"] == "gone"

    asyncio.run(scenario())
