"""A question asked by the command line of a running server, with its report."""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.cli import tidings
from tests.harness.server import User, check_story

PROVENANCE = ("value", "unit", "label", "tool", "call_id", "source", "rows")


@dataclass(frozen=True)
class Answered:
    """A finished run: its events, its answer, and its report as data."""

    user: User
    events: list[dict[str, Any]]
    report: dict[str, Any]

    @property
    def answer(self) -> str:
        return str(self.events[-1]["payload"]["answer"])

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        return {fact["id"]: fact for fact in self.report["facts"]}

    def fact(self, tool: str, name: str) -> dict[str, Any]:
        """Return the one fact of this name that this tool found."""
        found = [f for f in self.facts.values() if f["tool"] == tool and _name(f) == name]
        assert len(found) == 1, (tool, name, found)
        return found[0]

    def results(self, tool: str) -> list[dict[str, Any]]:
        """Return what the successful calls of a tool told, oldest first."""
        ended = [e["payload"] for e in self.events if e["type"] == "tool_completed"]
        return [p["result"] for p in ended if p["tool"] == tool and p["ok"]]

    def document(self, format_: str) -> str:
        report_id = self.report["report_id"]
        return asyncio.run(self.user.api.report(report_id, format_)).decode()


def ask(user: User, question: str, *files: Path) -> Answered:
    """Upload, ask and wait, by one command; check what holds for every answer."""
    sent = [argument for file in files for argument in ("--file", file)]
    ran = tidings(
        "ask", question, "--json", *sent,
        "--server", user.server.url, TIDINGS_TOKEN=user.token,
    )  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    check_story(ran.events)
    report_id = ran.events[-1]["payload"]["report_id"]
    report = json.loads(asyncio.run(user.api.report(report_id, "json")))
    answered = Answered(user, ran.events, report)
    check_provenance(answered)
    return answered


def check_provenance(answered: Answered) -> None:
    """Every fact says what it is and where it comes from, and every figure shown is a fact."""
    assert answered.report["facts"]
    for fact in answered.report["facts"]:
        for field in PROVENANCE:
            assert field in fact
        assert fact["tool"]
        assert fact["call_id"] in fact["id"]
        assert fact["source"]
    for placed in re.findall(r"\{\{fact:([^}]+)\}\}", answered.report["template"]):
        assert answered.facts[placed]["formatted"] in answered.report["text"].replace("\\", "")


def _name(fact: dict[str, Any]) -> str:
    return str(fact["id"]).partition(".")[2]
