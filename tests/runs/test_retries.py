"""A call that does no harm twice is tried again when its fault may pass: once decided, for all."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.world import ANA, BOB, payloads, world
from tidings.domain.errors import Failure, TidingsError, Unavailable
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.resilience.retry import RESERVE_RETRIES_MAX, RETRY_POLICY
from tidings.runs.context import RunContext
from tidings.tools.port import Tool, ToolContext, tool

AWAY = Unavailable("shelf_away", "The shelf is not there now.")
TRIES_MAX = RETRY_POLICY.retries_max + 1


class Shelf:
    """A target that fails so often, and keeps the keys it was asked with."""

    def __init__(self, error: TidingsError, failures: int) -> None:
        self.error = error
        self.failures = failures
        self.keys: list[str] = []

    def tool(self, effect: Effect) -> Tool:
        @tool(name="fetch", effect=effect, trusted=True)
        async def fetch(ctx: ToolContext, what: int = 0) -> ToolResult:
            """Fetch from the shelf."""
            self.keys.append(ctx.idempotency_key)
            if len(self.keys) <= self.failures:
                raise self.error
            return ToolResult("Here it is.")

        return fetch


async def fetches(ctx: RunContext) -> Outcome:
    outcome = await ctx.tool("fetch", {}, purpose="to have it")
    return Outcome(outcome.error.code if outcome.error else "ok")


def ask(path: Path, agent: Any, tool: Tool) -> list[dict[str, Any]]:
    """Return the ends of the run's calls."""

    async def scenario() -> list[dict[str, Any]]:
        async with world(path, {"it": agent}, [tool]) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        return payloads(events, "tool_completed")

    return asyncio.run(scenario())


@pytest.mark.parametrize("effect", [Effect.NONE, Effect.READ, Effect.KEYED])
def test_what_may_pass_is_tried_again_with_the_same_key(tmp_path: Path, effect: Effect) -> None:
    shelf = Shelf(AWAY, failures=2)
    (ended,) = ask(tmp_path, fetches, shelf.tool(effect))
    assert (ended["ok"], ended["tries"]) == (True, TRIES_MAX)
    assert len(shelf.keys) == TRIES_MAX
    assert len(set(shelf.keys)) == 1


@pytest.mark.parametrize(
    ("effect", "error", "tries"),
    [
        (Effect.WRITE, AWAY, 1),
        (Effect.READ, Failure("shelf_broken", "It will not pass."), 1),
        (Effect.READ, Unavailable("full", "Much later.", retry_after_seconds=60), 1),
        (Effect.READ, AWAY, TRIES_MAX),
    ],
)
def test_what_writes_what_stays_and_what_takes_too_long_is_not_tried_again(
    tmp_path: Path, effect: Effect, error: TidingsError, tries: int
) -> None:
    shelf = Shelf(error, failures=9)
    (ended,) = ask(tmp_path, fetches, shelf.tool(effect))
    assert len(shelf.keys) == tries
    assert ended["error"]["code"] == error.code


def test_a_tool_that_is_down_is_not_asked_three_times_as_often(tmp_path: Path) -> None:
    async def asks_much(ctx: RunContext) -> Outcome:
        for n in range(4):
            await ctx.tool("fetch", {"what": n}, purpose="to have it")
        return Outcome("done")

    async def scenario() -> None:
        shelf = Shelf(AWAY, failures=10**6)
        async with world(tmp_path, {"it": asks_much}, [shelf.tool(Effect.READ)]) as w:
            await w.begin()
            async with w.working():
                for user in (ANA, BOB):
                    await w.events_until_end(await w.ask("go", user), user)
        assert 8 < len(shelf.keys) <= 8 + RESERVE_RETRIES_MAX + 1
        assert len(shelf.keys) < 8 * TRIES_MAX

    asyncio.run(scenario())
