"""Why a run is degraded: told when it happens, and again at its end."""

from tidings.domain.runs import Outcome
from tidings.runs.context import REASONS_MAX, RunContext
from tidings.testing import Rehearsal, Story, crash_everywhere, rehearse

WHY = {"code": "half_only", "message": "The other half was not to be had."}


async def half(ctx: RunContext) -> Outcome:
    async def look() -> str:
        return "half"

    await ctx.degrade(**WHY, cause="not_found")
    found = await ctx.step("look", look, str)
    async with ctx.sub("helper", "Look again") as sub:
        await sub.degrade(**WHY)
    await ctx.notice("slow", "That took its time.")
    return Outcome(f"{found} of it")


async def complains(ctx: RunContext) -> Outcome:
    for number in range(REASONS_MAX + 1):
        await ctx.degrade("lacking", f"Part {number} was not to be had.")
    return Outcome("The rest.")


def check(story: Story) -> None:
    assert (story.status, story.answer) == ("degraded", "half of it")
    assert [notice["code"] for notice in story.of("notice")] == ["half_only", "half_only", "slow"]
    assert story.end.payload["reasons"] == [WHY]


def test_a_reason_stands_at_the_end_once_wherever_the_process_dies() -> None:
    check(rehearse(Rehearsal(half)))
    crashes = crash_everywhere(lambda: Rehearsal(half))
    assert len(crashes) >= 4
    for crash in crashes:
        check(crash.story)


def test_an_end_gives_so_many_reasons_at_most() -> None:
    story = rehearse(Rehearsal(complains))
    assert len(story.of("notice")) == REASONS_MAX + 1
    assert len(story.end.payload["reasons"]) == REASONS_MAX
