"""The Python client's rules do what the vectors say."""

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tests.conformance.vectors import differs, load, name_of
from tidings.domain.commands import Command
from tidings.protocol.client import (
    Anew,
    Answered,
    Apply,
    ClientCore,
    Greeted,
    Happening,
    Reconnect,
    Reply,
)
from tidings.protocol.closing import after_close

VECTORS = load("client")


@dataclass
class Done:
    """What the client did in a step."""

    applied: list[list[Any]] = field(default_factory=list)
    sends: list[Any] = field(default_factory=list)
    answered: list[Any] = field(default_factory=list)
    lost: list[Any] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)


@pytest.mark.parametrize("vector", VECTORS, ids=map(name_of, VECTORS))
def test_the_python_client_conforms(vector: dict[str, Any]) -> None:
    core = ClientCore("d1")
    for followed in vector.get("follow", [{"stream": "thread:t1"}]):
        core.follow(followed["stream"], followed.get("cursor", "0"))
    for number, step in enumerate(vector["steps"], start=1):
        check(core, step, f"step {number}")


def check(core: ClientCore, step: dict[str, Any], place: str) -> None:
    before = (core.duplicates, core.verified)
    done = do(core, step)
    wanted = step.get("apply", [])
    assert done.applied == (offered(step) if wanted == "all" else wanted), place
    for kind in ("sends", "answered", "lost"):
        got = getattr(done, kind)
        assert not differs(got, step.get(kind, [])), f"{place}: {kind}: {got}"
    assert done.closes == ([step["close"]] if "close" in step else []), place
    counted = (core.duplicates - before[0], core.verified - before[1])
    assert counted == (step.get("drop", 0), step.get("verified", 0)), place
    if "closed" in step:
        assert after_close(step["closed"]) == step["next"], step


def do(core: ClientCore, step: dict[str, Any]) -> Done:
    done = Done()
    if "receive_text" in step or "messages" in step:
        for text in [step.get("receive_text"), *map(json.dumps, step.get("messages", []))]:
            for happening in core.receive(text) if text else ():
                note(core, done, happening)
    else:
        message = say(core, step)
        done.sends += [json.loads(message)] if message else []
    return done


def say(core: ClientCore, step: dict[str, Any]) -> bytes | None:
    """Return what the client sends by itself, or because it is asked to."""
    match step:
        case {"connect": True}:
            return core.hello(token="t")
        case {"command": command}:
            return core.command(msgspec.convert(command, Command))
        case {"follow": followed}:
            return core.follow(followed["stream"], followed["cursor"])
        case {"leave": stream}:
            return core.leave(stream)
        case {"ack_due": True}:
            return core.acknowledgement()
        case _:
            assert "closed" in step, f"a step that is not known: {step}"
            return None


def note(core: ClientCore, done: Done, happening: Happening) -> None:
    match happening:
        case Apply(event):
            done.applied.append([event.stream, event.offset])
        case Reply(message):
            done.sends.append(json.loads(message))
        case Answered(ref, receipt, error):
            answer = msgspec.to_builtins(receipt) if receipt else error or {}
            done.answered.append(answer | {"ref": ref})
        case Anew(stream, why, snapshot):
            done.lost.append({"stream": stream, "why": why, "snapshot": snapshot})
        case Reconnect(code):
            done.closes.append(int(code))
        case Greeted(_, refused):
            done.sends += [json.loads(message) for message in core.unanswered()]
            for status in refused:
                lost = {"stream": status["stream"], "why": status["code"]}
                done.lost.append(lost | {"snapshot": status.get("snapshot")})
        case _:
            pass  # told, and no more


def offered(step: dict[str, Any]) -> list[list[Any]]:
    messages = (m if isinstance(m, list) else [m] for m in step["messages"])
    return [[event["stream"], event["offset"]] for message in messages for event in message]
