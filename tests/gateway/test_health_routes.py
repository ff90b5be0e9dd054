"""Alive, ready, measured."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.fakes.ports import ManualClock
from tests.gateway.world import METRICS_TOKEN, World, running
from tidings.domain.errors import Unavailable
from tidings.health.metrics import Metrics
from tidings.health.probes import Probe, Readiness, disk_probe


def test_livez_and_readyz_say_nothing_but_their_word(world: World) -> None:
    assert world.ask("GET", "/livez").json == {"status": "ok"}
    assert world.ask("GET", "/readyz").json == {"status": "ready"}


def test_a_draining_server_is_alive_and_not_ready(tmp_path: Path) -> None:
    with running(tmp_path) as own:
        own.readiness.drain()
        answer = own.ask("GET", "/readyz")
        assert (answer.status, answer.code) == (503, "not_ready")
        assert own.ask("GET", "/livez").status == 200


def test_metrics_are_for_this_machine_or_an_administrator(world: World) -> None:
    world.ask("GET", "/nowhere")
    text = world.ask("GET", "/metrics").body.decode()
    assert 'tidings_refusals_total{code="not_found"}' in text
    assert 'tidings_http_requests_total{route="none",status="404"}' in text
    proxied = [("X-Forwarded-For", "127.0.0.1")]
    assert world.ask("GET", "/metrics", headers=proxied).status == 401
    refused = world.ask("GET", "/metrics", headers=proxied, token=world.ada)
    assert (refused.status, refused.code) == (403, "admin_only")
    assert world.ask("GET", "/metrics", headers=proxied, token=world.chief).status == 200


def test_metrics_have_a_token_that_opens_nothing_else(world: World) -> None:
    proxied, token = [("X-Forwarded-For", "127.0.0.1")], METRICS_TOKEN
    assert world.ask("GET", "/metrics", headers=proxied, token=token).status == 200
    assert world.ask("GET", "/metrics", headers=proxied, token=token[:-1]).status == 401
    assert world.ask("GET", "/api/health", headers=proxied, token=token).status == 401


def test_without_its_token_no_empty_one_opens_metrics(tmp_path: Path) -> None:
    proxied = [("X-Forwarded-For", "127.0.0.1"), ("Authorization", "Bearer ")]
    with running(tmp_path, metrics_token="") as own:
        assert own.ask("GET", "/metrics", headers=proxied).status == 401


def test_a_limit_that_was_hit_shows_under_its_name(world: World) -> None:
    world.ask("POST", "/api/login", b" " * 300_000)
    text = world.ask("GET", "/metrics").body.decode()
    assert 'tidings_limit_hits_total{limit="body_too_large"}' in text


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.refusals.labels("x").inc()
    assert b'tidings_refusals_total{code="x"} 1.0' in one.render()
    assert b'code="x"' not in other.render()


async def _well() -> str:
    return "well"


async def _refuses() -> str:
    raise Unavailable("storage_full", "no room")


async def _breaks() -> str:
    raise OSError("gone")


async def _hangs() -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize(
    ("check", "detail"), [(_refuses, "no room"), (_breaks, "gone"), (_hangs, "no answer")]
)
def test_one_failing_probe_is_named_and_makes_the_server_not_ready(
    check: Callable[[], Awaitable[str]], detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.health.probes.PROBE_SECONDS", 0.05)

    async def scenario() -> None:
        readiness = Readiness((Probe("fine", _well), Probe("bad", check)), ManualClock())
        assert not await readiness.ready()
        fine, bad = await readiness.findings()
        assert (fine.ok, bad.ok, bad.name) == (True, False, "bad")
        assert detail in bad.detail

    asyncio.run(scenario())


def test_findings_are_asked_for_once_a_second_however_often_one_looks() -> None:
    asked = 0

    async def check() -> str:
        nonlocal asked
        asked += 1
        return "well"

    async def scenario() -> None:
        clock = ManualClock()
        readiness = Readiness((Probe("counted", check),), clock)
        for _ in range(100):
            assert await readiness.ready()
        assert asked == 1
        clock.advance(1.0)
        assert await readiness.ready()
        assert asked == 2

    asyncio.run(scenario())


def test_the_disk_probe_wants_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        assert "MiB free" in await disk_probe(tmp_path, 1).check()
        with pytest.raises(Unavailable):
            await disk_probe(tmp_path, 1 << 62).check()

    asyncio.run(scenario())
