"""What an agent's author gets wrong shows at the first run, and its log says what to mend."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world import world
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext


async def labels_its_step(ctx: RunContext) -> Outcome:
    label: Any = "wait"  # in the place of the result's type
    await ctx.step("s", _a_number, label)
    return Outcome("never")


async def takes_a_number_for_text(ctx: RunContext) -> Outcome:
    work: Callable[[], Any] = _a_number
    await ctx.step("s", work, str)
    return Outcome("never")


async def answers_in_plain_text(ctx: RunContext) -> Any:
    return "Done."


async def _a_number() -> int:
    return 1


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (labels_its_step, "step.s: its result is not read as 'wait'"),
        (takes_a_number_for_text, "step.s: its result is not read as <class 'str'>"),
        (answers_in_plain_text, "an agent returns an Outcome, not a str"),
    ],
)
def test_it_fails_at_once_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, agent: Any, why: str
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, {"it": agent}) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        assert events[-1].payload["code"] == "internal"

    asyncio.run(scenario())
    assert why in caplog.text
