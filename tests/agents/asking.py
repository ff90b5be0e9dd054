"""Ask the analysis a question, on a real store, with scripted tools and a model of choice."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.toolbox import Script, tools
from tests.world import ANA, World, payloads, world
from tidings.agents.reporter import Save
from tidings.agents.workflow import ANALYSIS, analysis_workflow
from tidings.domain.context import SERVER, UserContext
from tidings.domain.events import Event
from tidings.models.planner import Planner
from tidings.models.port import Model
from tidings.reports.report import Report
from tidings.runs.queue import Limits
from tidings.storage.warm.port import Database, Transaction


class Shelf:
    """Keeps reports in memory, by id."""

    def __init__(self) -> None:
        self.reports: dict[str, Report] = {}

    async def save(self, _user: UserContext, report: Report) -> None:
        self.reports.setdefault(report.report_id, report)


class Answered:
    """What came of a question."""

    def __init__(self, events: list[Event], shelf: Shelf) -> None:
        self.events = events
        self.shelf = shelf
        self.end: dict[str, Any] = events[-1].payload

    @property
    def answer(self) -> str:
        return str(self.end["answer"])

    @property
    def status(self) -> str:
        return str(self.end["status"])

    @property
    def report(self) -> Report:
        return self.shelf.reports[self.end["report_id"]]

    def told(self, type_: str) -> list[dict[str, Any]]:
        return payloads(self.events, type_)

    def notices(self) -> list[str]:
        return [notice["code"] for notice in self.told("notice")]

    def reasons(self) -> list[tuple[str, str]]:
        """Return why it is degraded: code and sentence of each."""
        return [(reason["code"], reason["message"]) for reason in self.end.get("reasons", ())]

    def agents(self) -> list[str | None]:
        return [event.agent for event in self.events if event.type == "subagent_started"]

    def called(self) -> list[str]:
        return [call["tool"] for call in self.told("tool_executing")]

    def shown(self) -> str:
        return "".join(delta["text"] for delta in self.told("answer_delta"))


def ask(
    path: Path,
    question: str,
    script: Script,
    *,
    model: Model | None = None,
    save: Save | None = None,
    wrap: Callable[[Database], Database] = lambda database: database,
    seconds: float = Limits().run_seconds,
) -> Answered:
    """Return what the analysis makes of a question; an empty script means that no file came."""
    shelf = Shelf()
    toolbox = tools(script)
    agent = analysis_workflow(toolbox, save or shelf.save)

    async def scenario() -> list[Event]:
        async with world(
            path,
            {ANALYSIS: agent},
            toolbox,
            model=model or Planner(),
            wrap=wrap,
            limits=Limits(run_seconds=seconds),
        ) as built:
            await built.begin()
            await _upload(built)
            async with built.working():
                receipt = await built.ask(question, files=("f_1",) if script else ())
                return await built.events_until_end(receipt)

    return Answered(asyncio.run(scenario()), shelf)


async def _upload(built: World) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute(
            "insert into files (file_id, user_id, name, bytes, sha256, created_at)"
            " values ('f_1', ?, 'log.csv', 1, 'x', 0.0)",
            ANA.user_id,
        )

    await built.database.write(SERVER, work)
