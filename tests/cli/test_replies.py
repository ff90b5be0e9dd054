"""What a person at a terminal is asked, and what becomes of the lines that come back."""

import asyncio
from typing import Any

import pytest

from tests.fakes.ports import CountingIds
from tidings.cli.replies import Replies
from tidings.domain.commands import AnswerInput, Approve
from tidings.domain.events import Event


def asks(type_: str, offset: int = 1, **payload: Any) -> Event:
    return Event(
        type=type_,
        event_id=f"e{offset}",
        stream="thread:t1",
        epoch="x1",
        offset=offset,
        timestamp="2026-01-01T00:00:00.000Z",
        payload=payload,
        run_id="r1",
        thread_id="t1",
    )


def call(number: int, **more: Any) -> Event:
    payload = {"call_id": f"c{number}", "tool": "pay", "arguments_hash": f"h{number}"} | more
    return asks("approval_required", number, **payload)


def said(events: list[Event], *lines: str) -> tuple[list[str], list[AnswerInput | Approve]]:
    """Return the prompts that the events led to, and the commands that the lines became."""
    prompts: list[str] = []
    waiting = list(lines)

    def read(prompt: str) -> str:
        prompts.append(prompt)
        return waiting.pop(0)

    async def scenario() -> list[AnswerInput | Approve]:
        replies = Replies(CountingIds(), read)
        return [command for event in events for command in await replies.to(event)]

    return prompts, asyncio.run(scenario())


def test_calls_that_ask_together_are_all_shown_before_one_is_decided() -> None:
    first, second = call(1, together=2), call(2, together=2)
    assert said([first]) == ([], [])
    prompts, commands = said([first, second], "y", "")
    assert prompts == ["Allow call 1 of 2, pay? [y/N] ", "Allow call 2 of 2, pay? [y/N] "]
    leaves = [c.payload for c in commands if isinstance(c, Approve)]
    assert [(p.call_id, p.decision, p.arguments_hash) for p in leaves] == [
        ("c1", "allow", "h1"),
        ("c2", "deny", "h2"),
    ]


@pytest.mark.parametrize(("line", "decision"), [("y", "allow"), ("YES", "allow"), ("no", "deny")])
def test_a_call_that_asks_alone_is_decided_at_once(line: str, decision: str) -> None:
    prompts, (command,) = said([call(1)], line)
    assert prompts == ["Allow exactly this call? [y/N] "]
    assert isinstance(command, Approve)
    assert command.payload.decision == decision


def test_an_answer_is_text_or_the_json_that_is_asked_for() -> None:
    text = asks("input_required", request_id="q1")
    number = asks("input_required", 2, request_id="q2", schema={"type": "integer"})
    _, commands = said([text, number, number], " Oslo ", "4", "four")
    values = [c.payload.value for c in commands if isinstance(c, AnswerInput)]
    assert values == ["Oslo", 4, "four"]
