"""A run as it happens, for people at a terminal."""

import unicodedata
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from tidings.cli.values import is_typed, lines_of
from tidings.domain.events import Event, EventType

ARGUMENTS_CHARACTERS_MAX = 120
BAR_CELLS = 20


class Show:
    """Prints events one by one: agents nested, tools timed, the answer as it is written.

    What comes from models and files is printed as text and cannot steer the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._agents: list[str] = []
        self._tools: dict[str, str] = {}
        self._message = ""
        self._last = ""

    def event(self, event: Event) -> None:
        """Print an event."""
        if event.type != EventType.ANSWER_DELTA:
            self._end_of_answer()
        show = getattr(self, f"_{event.type}", None)
        if show is not None:
            show(event, event.payload)

    def _message_received(self, _: Event, payload: dict[str, Any]) -> None:
        self._line(("> ", "bold cyan"), (payload["text"], "bold"))

    def _agent_started(self, event: Event, payload: dict[str, Any]) -> None:
        self._agents = [event.agent or "agent"]
        self._line(("● ", "green"), (f"{event.agent} ", "bold green"), payload["task_description"])
        for number, step in enumerate(payload["plan"], start=1):
            self._line((f"   {number}. {step}", "dim"))

    def _subagent_started(self, event: Event, payload: dict[str, Any]) -> None:
        self._agents.append(event.agent or "agent")
        self._line(("● ", "green"), (f"{event.agent} ", "bold"), payload["task_description"])

    def _subagent_completed(self, event: Event, payload: dict[str, Any]) -> None:
        mark = ("✔ ", "green") if payload["ok"] else ("✘ ", "red")
        self._line(mark, (f"{event.agent} ", "bold"), payload["summary"] or "done")
        if len(self._agents) > 1:
            self._agents.pop()

    def _agent_thinking(self, _: Event, payload: dict[str, Any]) -> None:
        full = round(payload["progress"] * BAR_CELLS)
        bar = "█" * full + "░" * (BAR_CELLS - full)
        share = f" {bar} {payload['progress']:.0%}  "
        self._line((share, "blue"), (payload["reasoning"], "italic"), inside=True)

    def _tool_executing(self, _: Event, payload: dict[str, Any]) -> None:
        self._tools[payload["call_id"]] = payload["tool"]
        arguments = ", ".join(f"{k}={v!r}" for k, v in payload["arguments"].items())
        if len(arguments) > ARGUMENTS_CHARACTERS_MAX:
            arguments = arguments[: ARGUMENTS_CHARACTERS_MAX - 1] + "…"
        self._line(
            ("⚙ ", "yellow"),
            (payload["tool"], "yellow"),
            f"({arguments})  ",
            (payload["purpose"], "dim"),
            inside=True,
        )

    def _tool_completed(self, _: Event, payload: dict[str, Any]) -> None:
        mark = ("✔ ", "green") if payload["ok"] else ("✘ ", "red")
        took = (f"{payload['duration_ms']:.0f} ms  ", "dim")
        self._line(mark, (payload["tool"], "yellow"), " ", took, payload["summary"], inside=True)

    def _notice(self, _: Event, payload: dict[str, Any]) -> None:
        self._line(("▲ ", "yellow"), (payload["message"], "yellow"), inside=True)

    def _input_required(self, _: Event, payload: dict[str, Any]) -> None:
        self._line(("? ", "bold magenta"), (payload["question"], "bold"), inside=True)
        for choice in (payload.get("schema") or {}).get("enum", ()):
            self._line((f"  - {choice}", "dim"), inside=True)
        self._line((f"  It waits until {payload['expires_at']}.", "dim"), inside=True)

    def _approval_required(self, _: Event, payload: dict[str, Any]) -> None:
        arguments = msgspec.json.encode(payload["arguments"]).decode()  # all of it: leave is for it
        self._line(("? ", "bold magenta"), ("May this be called? ", "bold"), payload["reason"])
        self._line((f"  {payload['tool']} {arguments}", "yellow"), inside=True)
        self._line((f"  It waits until {payload['expires_at']}.", "dim"), inside=True)

    def _request_settled(self, _: Event, payload: dict[str, Any]) -> None:
        self._line(("  ", ""), (payload["outcome"], "dim"), inside=True)

    def _answer_delta(self, _: Event, payload: dict[str, Any]) -> None:
        if payload["message_id"] != self._message:
            self._end_of_answer()
            self._message = self._last = payload["message_id"]
            self._console.rule("the answer, as it is written", style="dim")
        self._console.print(Text(_plain(payload["text"])), end="", soft_wrap=True)

    def _agent_completed(self, event: Event, payload: dict[str, Any]) -> None:
        degraded = payload["status"] != "completed"
        mark = ("▲ ", "yellow") if degraded else ("✔ ", "bold green")
        summary = payload["summary"]
        counts = f"{summary['tools']} tool calls, {summary['duration_ms'] / 1000:.1f} s"
        quality = payload.get("quality") or {}
        score = f", quality {quality['score']:.2f}" if "score" in quality else ""
        cut = payload.get("incomplete", [])
        self._incomplete(cut)
        if not self._last or self._last in cut:
            self._console.print(Text(_plain(self._answer(payload))), soft_wrap=True)
        self._line(mark, (f"{event.agent} {payload['status']} ", "bold"), f"({counts}{score})")
        for reason in payload.get("reasons", []):
            self._line((reason["message"], "yellow"), inside=True)

    def _agent_failed(self, event: Event, payload: dict[str, Any]) -> None:
        self._incomplete(payload.get("incomplete", []))
        self._line(
            ("✘ ", "red"),
            (f"{event.agent} failed: ", "bold red"),
            f"{payload['message']} ({payload['code']})",
        )

    def _agent_cancelled(self, event: Event, payload: dict[str, Any]) -> None:
        self._incomplete(payload.get("incomplete", []))
        why = payload.get("message") or payload.get("reason", "")
        self._line(("■ ", "red"), (f"{event.agent} was stopped ", "bold red"), f"({why})")

    def _answer(self, payload: dict[str, Any]) -> str:
        if is_typed(payload):
            return "\n".join(lines_of(payload["output"], self._console.width))
        return str(payload["answer"])

    def _incomplete(self, messages: list[str]) -> None:
        """Say that text which was shown was cut off."""
        if messages:
            which = "The text above" if self._last in messages else "A text further up"
            self._line(("▲ ", "yellow"), (f"{which} was cut off: it is incomplete.", "yellow"))

    def _end_of_answer(self) -> None:
        if self._message:
            self._message = ""
            self._console.print()
            self._console.rule(style="dim")

    def _line(self, *parts: str | tuple[str, str], inside: bool = False) -> None:
        depth = max(0, len(self._agents) - 1) + inside
        text = Text("  " * depth)
        for part in parts:
            words, style = part if isinstance(part, tuple) else (part, "")
            text.append(_plain(words), style)
        self._console.print(text, soft_wrap=True)


def _plain(text: str) -> str:
    """Leave out what would steer the terminal instead of being read."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")
