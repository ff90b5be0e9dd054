"""The health of a whole server, as the application wires it: every section knows something."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from tests.harness.programs import impatient
from tidings.app import App, build
from tidings.domain.context import SERVER, UserContext
from tidings.domain.tiers import TierState
from tidings.health.service import LOOK_KEPT_SECONDS
from tidings.resilience.breaker import Breaker
from tidings.settings import load
from tidings.storage.warm.port import Transaction

USERS = [UserContext("default", name, "s") for name in ("ana", "bob")]


async def looked(app: App) -> tuple[list[str], dict[str, Any]]:
    """Return the concerns' codes, and the sections as administrators get them."""
    await asyncio.sleep(LOOK_KEPT_SECONDS)
    health = await app.services.health.now()
    body = msgspec.json.decode(msgspec.json.encode(health))
    return [concern.code for concern in health.concerns], body["sections"]


def test_a_new_server_is_well_and_every_section_knows_something(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path}, {}))
        impatient.register(app)
        await app.begin()
        async with app.running():
            codes, sections = await looked(app)
            health = await app.services.health.now()
        await app.close()
        assert (health.state, health.meaning, codes) == (TierState.OK, "All is well.", [])
        assert health.up_seconds > 0
        assert [tier["name"] for tier in sections["tiers"]] == ["warm", "hot", "cold"]
        assert all(check["ok"] for check in sections["checks"])
        assert [model["name"] for model in sections["models"]] == ["tidings:planner"]
        assert "describe_data" in [tool["name"] for tool in sections["tools"]]
        assert {"analysis", "echo"} <= {agent["name"] for agent in sections["agents"]}
        assert sections["loop"]["lag_seconds_max"] >= 0.0
        assert sections["spending"]["users"] == 0
        # One process on a file has nobody to tell of itself, and lets the disk sleep.
        assert sections["nodes"] == []
        assert "roster" not in [part["name"] for part in sections["parts"]]

    asyncio.run(scenario())


def test_what_fails_for_several_users_shows_where_it_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path}, {}))
        await app.begin()
        now = app.services.clock.now()

        async def failures(tx: Transaction) -> None:
            for number in range(6):
                await tx.execute(
                    "insert into runs (run_id, user_id, tenant_id, session_id, thread_id, agent,"
                    " request, state, status, created_at, deadline_at, ended_at)"
                    " values (?, ?, 'default', 's', 't', 'analysis', '', 'ended', 'failed', 0, 0,"
                    " ?)",
                    f"r{number}",
                    USERS[number % 2].user_id,
                    now,
                )

        await app._kept.tiers.warm.write(SERVER, failures)
        monotonic = app.services.clock.monotonic()
        for user in USERS:
            fail(app.tools.breakers.of((user.user_id, "describe_data")), monotonic)
        async with app.running():
            codes, sections = await looked(app)
        await app.close()
        assert codes == ["agents_resting"]
        [analysis] = sections["agents"]
        assert analysis == {
            "name": "analysis",
            "well": False,
            "ended": 6,
            "failed": 6,
            "users": 2,
            "stands_in_for": [],
        }
        [tool] = [tool for tool in sections["tools"] if tool["name"] == "describe_data"]
        assert tool["resting_users"] == 2

    asyncio.run(scenario())


def fail(breaker: Breaker, now: float) -> None:
    for _ in range(10):
        breaker.failed(now, breaker.admit(now))


def test_an_app_that_does_not_run_can_be_looked_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path}, {}))
        await app.begin()
        first = await app.services.health.now()
        assert await app.services.health.now() is first
        await app.close()
        assert first.state is TierState.OK

    asyncio.run(scenario())


def test_a_scheduler_that_does_not_answer_is_a_concern_and_no_reason_to_take_no_work(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path, "temporal_address": "127.0.0.1:9"}, {}))
        await app.begin()
        whole = await app.services.health.now()
        assert [concern.code for concern in whole.concerns] == ["tier_scheduler"]
        assert whole.state is TierState.DEGRADED
        assert await app.readiness.ready()
        await app.close()

    asyncio.run(scenario())
