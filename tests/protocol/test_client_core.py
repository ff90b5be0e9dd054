"""The client's rules: every offset applied once, in order, over any mess of deliveries."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.commands import Chat, ChatPayload
from tidings.domain.cursors import Cursor
from tidings.domain.events import Event
from tidings.protocol import frames
from tidings.protocol.client import Answered, Apply, ClientCore, Greeted, Reading, Reconnect, Reply
from tidings.protocol.closing import Close

STREAM = "thread:t1"


def frame(offset: int) -> bytes:
    event = Event("notice", f"e_{offset:020d}", STREAM, "k3f9", offset, "2026-01-01T00:00:00.000Z")
    return msgspec.json.encode(event)


def following() -> ClientCore:
    core = ClientCore("d")
    core.follow(STREAM)
    return core


def applied(happenings: list[Any]) -> list[int]:
    return [h.event.offset for h in happenings if isinstance(h, Apply)]


@given(st.lists(st.integers(1, 12), max_size=60))
def test_whatever_arrives_offsets_are_applied_in_order_without_repeats(order: list[int]) -> None:
    core = following()
    seen: list[int] = []
    first = order[0] if order else 1
    for offset in order:
        happenings = core.receive(frame(offset))
        seen += applied(happenings)
        if any(isinstance(h, Reconnect) for h in happenings):
            core.hello()
            core.receive(b'{"type":"connection_established","streams":[]}')
    assert seen == list(range(first, first + len(seen)))


def test_a_duplicate_is_dropped_and_counted() -> None:
    core = following()
    assert applied(core.receive(b"[" + frame(1) + b"," + frame(2) + b"]")) == [1, 2]
    assert applied(core.receive(frame(2))) == []
    assert core.duplicates == 1


def test_a_gap_is_asked_for_once_and_then_the_connection_starts_anew() -> None:
    core = following()
    core.receive(frame(1))
    (reply,) = core.receive(frame(3))
    assert isinstance(reply, Reply)
    asked = json.loads(reply.message)
    assert asked == {"type": "subscribe", "stream": STREAM, "cursor": "k3f9.1.00000001"}
    assert core.receive(frame(4)) == [Reconnect(Close.GAP)]
    assert applied(core.receive(frame(2))) == [2]


def test_the_cursor_moves_with_the_event_and_is_said_on_return() -> None:
    core = following()
    core.receive(frame(1))
    core.receive(frame(2))
    hello = json.loads(core.hello(token="t"))
    assert hello["subscribe"] == [{"stream": STREAM, "cursor": "k3f9.2.00000002"}]


def test_acknowledgements_are_cumulative_and_given_by_count() -> None:
    core = following()
    replies = [r for n in range(1, 65) for r in core.receive(frame(n)) if isinstance(r, Reply)]
    assert [json.loads(r.message) for r in replies] == [{"type": "ack", "positions": {STREAM: 64}}]
    assert core.acknowledgement() is None
    core.receive(frame(65))
    assert json.loads(core.acknowledgement() or b"")["positions"] == {STREAM: 65}


def test_a_command_is_repeated_until_it_is_answered() -> None:
    core = ClientCore("d")
    message = core.command(Chat("m1", ChatPayload("hi")))
    assert core.unanswered() == [message]
    accepted = b'{"type":"accepted","ref":"m1","run_id":"r","thread_id":"t","offset":1}'
    (answer,) = core.receive(accepted)
    assert isinstance(answer, Answered)
    assert core.unanswered() == []


def test_an_error_answers_the_command_it_refers_to() -> None:
    core = ClientCore("d")
    core.command(Chat("m1", ChatPayload("hi")))
    (answer,) = core.receive(b'{"type":"error","ref":"m1","code":"not_found","message":"No."}')
    assert isinstance(answer, Answered)
    assert answer.error is not None
    assert core.unanswered() == []


def test_a_ping_is_answered() -> None:
    (reply,) = ClientCore("d").receive(b'{"type":"ping","n":17}')
    assert isinstance(reply, Reply)
    assert json.loads(reply.message) == {"type": "pong", "n": 17}


def test_unknown_frames_and_event_types_do_no_harm() -> None:
    core = following()
    core.receive(b'{"type":"from_the_future"}')
    event = json.loads(frame(1)) | {"type": "from_the_future", "extra": 1}
    assert applied(core.receive(json.dumps(event))) == [1]


def test_a_hello_that_resumes_as_many_streams_as_may_be_followed_is_short_enough() -> None:
    core = ClientCore("d_" + "0" * 26)
    for n in range(frames.SUBSCRIPTIONS_MAX):
        cursor = Cursor("k3f9ab", 10**6, f"{n:08d}")
        core.streams[f"thread:t_{n:026d}"] = Reading(cursor)
    assert len(core.hello(token="x" * 1024)) <= frames.FIRST_FRAME_BYTES_MAX


def test_a_stream_followed_between_hello_and_greeting_is_subscribed_then() -> None:
    core = ClientCore("d1")
    core.follow("thread:t_1")
    core.hello(token="t")
    core.follow("thread:t_2")
    greeting = {
        "type": "connection_established",
        "streams": [{"stream": "thread:t_1", "ok": True, "from": 1, "head": 0}],
    }
    greeted, reply = core.receive(msgspec.json.encode(greeting))
    assert isinstance(greeted, Greeted)
    assert isinstance(reply, Reply)
    said = {"type": "subscribe", "stream": "thread:t_2", "cursor": "0"}
    assert msgspec.json.decode(reply.message) == said


def test_b31_an_event_of_a_type_from_the_future_is_applied_like_any_other() -> None:
    core = ClientCore("d1")
    core.streams[STREAM] = Reading(after=0)
    event = Event("horoscope_read", "e_00000001", STREAM, "k3f9", 1, "", payload={"sign": [1]})
    assert applied(core.receive(msgspec.json.encode(event))) == [1]
    assert core.streams[STREAM].position == "k3f9.1.00000001"
    (told,) = core.receive(b'{"type":"weather","stream":"thread:t_1"}')
    assert not isinstance(told, Apply)
