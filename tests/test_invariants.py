"""The checker itself: it lets the good pass, and names each kind of broken promise."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.invariants import (
    History,
    LoggedEvent,
    LoggedStreams,
    Wire,
    check,
    proof_of,
)

STREAM = "thread:t_1"
STORY = (
    "message_received",
    "agent_started",
    "agent_thinking",
    "answer_delta",
    "answer_delta",
    "answer_delta",
)


def frame(offset: int, type_: str, **more: Any) -> bytes:
    event = {
        "type": type_,
        "event_id": f"e_{offset:026d}",
        "stream": STREAM,
        "epoch": "k3f9ab",
        "offset": offset,
        "run_id": "r_1",
        "payload": {},
    }
    if type_ == "answer_delta":
        event["payload"] = {"message_id": "m", "text": "ab" * offset}
    return json.dumps(event | more).encode()


def story() -> list[bytes]:
    """Return a run as the store holds it, with its proof."""
    frames = [frame(n, type_) for n, type_ in enumerate(STORY, start=1)]
    proof = proof_of(wire(f) for f in frames)
    return [*frames, frame(7, "agent_completed", payload={"proof": proof})]


def wire(frame: bytes) -> Wire:
    event = json.loads(frame)
    return Wire(
        type=event["type"],
        event_id=event["event_id"],
        stream=event["stream"],
        epoch=event["epoch"],
        offset=event["offset"],
    )


def merged(*frames: bytes) -> bytes:
    """Return deltas as the one event that stands for them."""
    events = [json.loads(f) for f in frames]
    texts = [e["payload"]["text"] for e in events]
    payload = {"message_id": "m", "text": "".join(texts), "lengths": [len(t) for t in texts]}
    more = {"first_offset": events[0]["offset"], "payload": payload}
    return json.dumps(events[-1] | more).encode()


def logged(frames: list[bytes], **more: Any) -> LoggedStreams:
    events = [LoggedEvent(f, committed=float(n)) for n, f in enumerate(frames)]
    return LoggedStreams(events, {STREAM: "ana"}, **more)


def history(frames: list[bytes], user: str = "ana", at: float = 100.0) -> History:
    seen = History(user, "d1")
    for f in frames:
        seen.applied(STREAM, f, wire(f).cursor, at)
    return seen


def everything(log: LoggedStreams, *histories: History) -> None:
    check(log, histories, at_head=True, ended=True, proven=True)


def test_a_story_that_was_applied_once_and_whole_passes() -> None:
    everything(logged(story()), history(story()))


def test_a_range_passes_for_the_events_it_stands_for_on_either_side() -> None:
    frames = story()
    short = [*frames[:3], merged(*frames[3:6]), frames[6]]
    sliced = [*frames[:4], merged(*frames[4:6]), frames[6]]
    everything(logged(frames), history(short), history(sliced))
    everything(logged(short), history(frames), history(sliced), history(short))


def test_a_new_beginning_may_repeat_or_skip() -> None:
    frames = story()
    again = history(frames[:4])
    again.began(STREAM, 2)
    for f in frames[2:]:
        again.applied(STREAM, f)
    kept = LoggedStreams([LoggedEvent(f) for f in frames[4:]], {STREAM: "ana"}, {STREAM: 5})
    check(kept, [again], at_head=True)


def test_what_a_rewind_took_away_may_have_been_shown_but_not_gone_on_from() -> None:
    frames = story()
    rewritten = [*frames[:4], frame(5, "agent_failed", event_id="e_other")]
    log = logged(rewritten, lost=frozenset(frames[4:]))
    check(log, [history(frames)])
    told = history(frames[:6])
    told.began(STREAM, 4)
    told.applied(STREAM, rewritten[4])
    check(log, [told])
    misled = logged([*rewritten, frame(6, "notice", run_id="r_2")], lost=frozenset(frames[4:]))
    with pytest.raises(AssertionError, match="nobody told the client"):
        check(misled, [history([*frames[:5], frame(6, "notice", run_id="r_2")])])


Change = Callable[[list[bytes]], list[bytes]]
SEEN: dict[str, tuple[Change, str]] = {
    "one left out": (lambda s: s[:2] + s[3:], "3..3 are missing"),
    "one twice": (lambda s: s[:3] + s[2:], "applied after 3: twice"),
    "two swapped": (lambda s: [s[0], s[2], s[1], *s[3:]], "out of order"),
    "one of another id": (lambda s: [s[0], frame(2, "agent_started", event_id="e_x"), *s[2:]],
                          "differs from the store's"),
    "one that is nowhere": (lambda s: [*s, frame(8, "notice", run_id=None)], "a phantom"),
    "one after the end": (lambda s: [*s, frame(8, "notice")], "which has ended"),
    "a range over the edge": (lambda s: [*s[:4], merged(*s[3:6]), s[6]], "applied after 4: twice"),
    "a range of other text": (
        lambda s: [*s[:3], merged(s[3], s[4].replace(b"abab", b"cdcd"), s[5]), s[6]],
        "5 differs from the store's",
    ),
    "not all": (lambda s: s[:5], "stands at 5, the store at 7"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "what"), SEEN.values(), ids=SEEN.keys())
def test_a_history_that_breaks_a_promise_is_named(change: Change, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        everything(logged(story()), history(change(story())))


STORED: dict[str, tuple[Change, str]] = {
    "a hole": (lambda s: s[:3] + s[4:], "a hole, 4..4"),
    "one id twice": (
        lambda s: [*s[:3], frame(4, "notice", event_id="e_" + "1".zfill(26)), *s[4:]],
        "has the id of",
    ),
    "two ends": (lambda s: [*s, frame(8, "agent_failed")], "2 terminal events"),
    "no end": (lambda s: s[:6], "no terminal event"),
    "a step after the end": (lambda s: [*s, frame(8, "notice")], "goes on after its end"),
    "a wrong proof": (
        lambda s: [*s[:6], s[6].replace(b'"count": 2', b'"count": 3')],
        "must be {'count': 2",
    ),
    "no proof": (lambda s: [*s[:6], frame(7, "agent_completed")], "proof None"),
}


@pytest.mark.parametrize(("change", "what"), STORED.values(), ids=STORED.keys())
def test_a_store_that_breaks_a_promise_is_named(change: Change, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        everything(logged(change(story())))


def test_a_foreign_stream_an_early_sight_and_a_wrong_cursor_are_named() -> None:
    frames = story()
    with pytest.raises(AssertionError, match="shown a stream of ana"):
        check(logged(frames), [history(frames, user="bob")])
    with pytest.raises(AssertionError, match="before its commit"):
        check(logged(frames), [history(frames, at=3.5)])
    mixed = History("ana", "d1")
    mixed.applied(STREAM, frames[0], "zzzzzz.1.00000001")
    with pytest.raises(AssertionError, match="the cursor is"):
        check(logged(frames), [mixed])
