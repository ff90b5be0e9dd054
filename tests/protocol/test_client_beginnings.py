"""Where a stream begins for a client: what is on its way from before must not be taken for it."""

import json

import msgspec

from tests.protocol.test_client_core import STREAM, applied, frame
from tidings.protocol.client import ClientCore, Greeted, Reply


def greeting(*streams: dict[str, object]) -> bytes:
    return json.dumps({"type": "connection_established", "streams": streams}).encode()


def subscribed(cursor: str, start: int) -> bytes:
    told = {"type": "subscribed", "stream": STREAM, "cursor": cursor, "from": start, "head": 9}
    return json.dumps(told).encode()


def test_a_stream_begun_anew_takes_nothing_of_its_older_subscription() -> None:
    core = ClientCore("d")
    core.hello()
    core.receive(greeting())
    core.follow(STREAM, "live")
    assert applied(core.receive(subscribed("live", 8))) == []
    assert applied(core.receive(frame(8))) == [8]
    core.follow(STREAM)
    assert applied(core.receive(frame(9))) == []
    core.receive(subscribed("live", 8))
    core.receive(b'{"type":"live","stream":"thread:t1","offset":9}')
    assert applied(core.receive(frame(9))) == []
    core.receive(subscribed("0", 1))
    assert applied(core.receive(frame(1))) == [1]


def test_where_a_trimmed_stream_begins_is_known() -> None:
    core = ClientCore("d")
    core.hello()
    core.receive(greeting())
    core.follow(STREAM)
    core.receive(subscribed("0", 6))
    assert applied(core.receive(frame(6))) == [6]


def test_a_greeting_answers_only_what_its_hello_offered() -> None:
    """Meanwhile the stream was begun anew: the answer is about the place it was at before."""
    for answer in (
        {"stream": STREAM, "ok": True, "from": 5, "head": 4},
        {"stream": STREAM, "ok": False, "code": "cursor_diverged", "message": ""},
    ):
        core = ClientCore("d")
        core.follow(STREAM, "k3f9.4.00000004")
        core.hello()
        core.follow(STREAM)
        greeted, reply = core.receive(greeting(answer))
        assert isinstance(greeted, Greeted)
        assert greeted.refused == ()
        assert isinstance(reply, Reply)
        again = {"type": "subscribe", "stream": STREAM, "cursor": "0"}
        assert msgspec.json.decode(reply.message) == again
        assert applied(core.receive(frame(5))) == []
        core.receive(subscribed("0", 1))
        assert applied(core.receive(frame(1))) == [1]


def test_a_bare_offset_is_a_place_to_begin() -> None:
    """As a snapshot gives it when the event before has left the log."""
    core = ClientCore("d")
    core.follow(STREAM, "4")
    assert json.loads(core.hello())["subscribe"] == [{"stream": STREAM, "cursor": "4"}]
    assert applied(core.receive(frame(5))) == [5]
