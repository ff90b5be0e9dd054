"""B30: whatever a tool returns, its run goes on and its event stays small; the whole is kept."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.world import ANA, BOB, payloads, world
from tidings.domain.errors import NotFound
from tidings.domain.facts import Column, Table, ToolResult, Unit
from tidings.domain.permissions import Effect
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext
from tidings.runs.outcomes import RESULT_BYTES_SHOWN_MAX, ToolOutcome
from tidings.runs.rulings import ToolRequest
from tidings.tools.port import ToolContext, tool

COLUMN = (Column("c", Unit.NAME, "C"),)
ODD: dict[str, Any] = {
    "50 MB": "x" * 50_000_000,
    "1 MB": "x" * 1_000_000,
    "no JSON": object(),
    "bytes": b"\xff\x00",
    "NaN": float("nan"),
    "infinity": float("inf"),
}


def test_b30_a_result_that_is_huge_or_no_json_is_an_outcome(tmp_path: Path) -> None:
    @tool(effect=Effect.READ)
    async def gives(ctx: ToolContext, what: str) -> ToolResult:
        """Give something odd."""
        return ToolResult("It is here.", table=Table(COLUMN, ((ODD[what],),)))

    async def tries(ctx: RunContext) -> Outcome:
        outcomes = [await ctx.tool("gives", {"what": what}, purpose="try") for what in ODD]
        return Outcome(" ".join(o.error.code if o.error else "ok" for o in outcomes))

    async def scenario() -> None:
        async with world(tmp_path, {"tries": tries}, [gives]) as w:
            await w.begin()
            async with w.working():
                events = await w.events_until_end(await w.ask("go"))
        assert events[-1].payload["answer"] == "tool_result_too_large ok tool_failed ok ok ok"
        told = payloads(events, "tool_completed")
        assert all(len(str(payload)) < RESULT_BYTES_SHOWN_MAX for payload in told)
        cells = [
            p["result"]["table"] and p["result"]["table"]["rows"][0][0] for p in told if p["ok"]
        ]
        assert cells == [None, "/wA=", None, None]

    asyncio.run(scenario())


LARGE: dict[str, ToolResult] = {
    "rows": ToolResult("Rows.", table=Table(COLUMN, tuple((f"{n}",) for n in range(500)))),
    "text": ToolResult("Text.", content="x" * 50_000),
    "one cell": ToolResult("A cell.", table=Table(COLUMN, (("x" * 1_000_000,),))),
    "little": ToolResult("Little.", content="x"),
}


def test_a_result_that_is_cut_in_its_event_is_there_in_whole_for_its_user(tmp_path: Path) -> None:
    @tool(effect=Effect.READ)
    async def gives(ctx: ToolContext, what: str) -> ToolResult:
        """Give much."""
        return LARGE[what]

    async def tries(ctx: RunContext) -> Outcome:
        await ctx.tools([ToolRequest("gives", {"what": what}, "to have it") for what in LARGE])
        return Outcome("done")

    async def scenario() -> None:
        async with world(tmp_path, {"tries": tries}, [gives]) as w:
            await w.begin()
            async with w.working():
                receipt = await w.ask("go")
                events = await w.events_until_end(receipt)
            told = {p["call_id"]: p["result"] for p in payloads(events, "tool_completed")}
            assert "stored" not in told["c4"]
            for number, what in enumerate(("rows", "text", "one cell"), start=1):
                stored = told[f"c{number}"]["stored"]
                assert stored["path"] == f"/api/runs/{receipt.run_id}/calls/c{number}"
                whole = await w.reads.call(ANA, receipt.run_id, f"c{number}")
                outcome = msgspec.json.decode(whole, type=ToolOutcome)
                assert outcome.result == LARGE[what]
                assert stored["bytes"] == len(msgspec.json.encode(LARGE[what]))
            for user, call_id in ((BOB, "c1"), (ANA, "c9"), (ANA, "started")):
                with pytest.raises(NotFound):
                    await w.reads.call(user, receipt.run_id, call_id)

    asyncio.run(scenario())
