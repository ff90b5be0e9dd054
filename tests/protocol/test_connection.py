"""The server's rules for one connection, without a socket."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tidings.domain.commands import Receipt
from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict, NotFound, Unauthenticated, Unavailable
from tidings.protocol import connection as rules
from tidings.protocol.closing import Close
from tidings.protocol.connection import PACE, Connection
from tidings.protocol.effects import (
    Authenticate,
    Carry,
    CloseWith,
    Effect,
    Follow,
    Miscounted,
    Remember,
    Send,
)

ANA = UserContext("acme", "ana", "s1")
BOB = UserContext("acme", "bob", "s2")
STREAM = "thread:t1"
NEVER = float("inf")


def sent(effects: Sequence[Effect]) -> list[Any]:
    return [json.loads(effect.message) for effect in effects if isinstance(effect, Send)]


def closed_with(effects: list[Effect]) -> Close | None:
    codes = [effect.code for effect in effects if isinstance(effect, CloseWith)]
    return codes[0] if codes else None


def plain() -> Connection:
    connection = Connection("k1", 0.0, PACE)
    connection.opened(ANA, NEVER)
    return connection


def full(window: dict[str, int] | None = None, now: float = 0.0) -> Connection:
    connection = Connection("k1", now, PACE)
    hello = {"type": "hello", "token": "x", "device": "d1", "window": window or {}}
    connection.receive(json.dumps(hello), now)
    connection.authenticated(ANA, NEVER)
    connection.greeted([])
    connection.flow.follow(STREAM, 0)
    return connection


def entries(first: int, last: int, size: int = 10) -> list[tuple[int, bytes]]:
    return [(n, b'"' + b"x" * (size - 2) + b'"') for n in range(first, last + 1)]


def test_a_plain_client_is_greeted_and_its_commands_carried() -> None:
    connection = Connection("k1", 0.0, PACE)
    (greeting,) = sent(connection.opened(ANA, NEVER))
    assert greeting["type"] == "connection_established"
    assert greeting["user_id"] == "ana"
    (carry,) = connection.receive(
        '{"type":"start_agent","id":"1","payload":{"user_request":"hi"}}', 1.0
    )
    assert isinstance(carry, Carry)
    receipt = Receipt("1", "r1", "t1", 5)
    (answer,) = sent(connection.accepted(receipt))
    assert answer["type"] == "accepted"
    follows = [e for e in connection.accepted(receipt) if isinstance(e, Follow)]
    assert follows[0].subscriptions[0].cursor == "4"  # its first event is number 5


def test_a_full_client_says_who_it_is_before_anything_else() -> None:
    hello = '{"type":"hello","ticket":"t","subscribe":[{"stream":"thread:t1","cursor":"0"}]}'
    authenticate, follow = Connection("k", 0.0, PACE).receive(hello, 0.0)
    assert authenticate == Authenticate("t", None)
    assert isinstance(follow, Follow)
    assert follow.greeting
    early = Connection("k", 0.0, PACE).receive(
        '{"type":"chat","id":"1","payload":{"text":"hi"}}', 0.0
    )
    assert closed_with(early) == Close.PROTOCOL_VIOLATION
    assert not any(isinstance(effect, Carry) for effect in early)


def test_a_refused_client_hears_why_and_is_closed() -> None:
    effects = Connection("k", 0.0, PACE).refused(Unauthenticated("token_invalid", "No."))
    assert sent(effects)[0]["code"] == "token_invalid"
    assert closed_with(effects) == Close.AUTH_FAILED


def test_a_socket_keeps_its_user() -> None:
    assert closed_with(plain().authenticated(BOB, NEVER)) == Close.AUTH_FAILED
    assert plain().authenticated(ANA, NEVER) == []


@pytest.mark.parametrize(
    ("type_", "meant"),
    [
        ("agent_execute", "start_agent"),
        ("execute_agent", "start_agent"),
        ("start_agnt", "start_agent"),
        ("user_mesage", "user_message"),
        ("zzz", None),
        ("", None),
    ],
)
def test_an_unknown_type_is_an_error_and_never_an_acknowledgement(
    type_: str, meant: str | None
) -> None:
    connection = plain()
    effects = connection.receive(json.dumps({"type": type_, "id": "7"}), 1.0)
    (error,) = sent(effects)
    assert (error["type"], error["code"], error["ref"]) == ("error", "unknown_type", "7")
    assert error.get("did_you_mean") == meant
    assert error["got"] == type_
    assert closed_with(effects) is None


def test_the_echo_of_an_unknown_type_is_short() -> None:
    (error,) = sent(plain().receive(json.dumps({"type": "x" * 9_000}), 1.0))
    assert len(error["got"]) == 64


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "null",
        "1",
        "true",
        '"text"',
        "[]",
        "[1]",
        "{",
        '{"type":"ack",}',
        "[" * 5_000,
        '{"type":"ack","positions":' + "[" * 5_000,
        '{"type":"ack","positions":{"s":NaN}}',
        "[" + ",".join(['{"type":"pong"}'] * 65) + "]",
        " " * 70_000,
    ],
)
def test_what_is_no_frame_closes_the_connection_with_a_reason(text: str) -> None:
    effects = plain().receive(text, 1.0)
    assert closed_with(effects) == Close.BAD_FRAME
    assert sent(effects)[0]["code"] == "bad_frame"


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "start_agent"},
        {"type": "start_agent", "id": 1, "payload": {"user_request": "x"}},
        {"type": "start_agent", "id": "1", "payload": []},
        {"type": "user_message", "id": "1", "payload": {"text": "x"}},
        {"type": "ack", "positions": {"s": 1.5}},
        {"type": "ack", "positions": {"s": "1"}},
        {"type": "stop_agent", "id": "1", "payload": {}},
    ],
)
def test_a_wrong_field_is_named_and_the_connection_goes_on(frame: dict[str, Any]) -> None:
    effects = plain().receive(json.dumps(frame), 1.0)
    assert closed_with(effects) is None
    assert sent(effects)[0]["code"] == "bad_message"


def test_unknown_fields_are_ignored() -> None:
    text = '{"type":"chat","id":"1","payload":{"text":"hi","mood":"good"},"future":1}'
    assert isinstance(plain().receive(text, 1.0)[0], Carry)


def test_binary_messages_end_the_connection() -> None:
    assert closed_with(plain().receive(None, 1.0)) == Close.BINARY


def test_too_many_errors_end_the_connection() -> None:
    connection = plain()
    answers = [connection.failed(NotFound(), "1", float(n)) for n in range(11)]
    assert [closed_with(a) for a in answers] == [None] * 10 + [Close.ABUSE]


def test_errors_are_forgiven_after_a_minute() -> None:
    connection = plain()
    answers = [connection.failed(NotFound(), "1", n * 7.0) for n in range(40)]
    assert {closed_with(a) for a in answers} == {None}


def test_the_servers_own_trouble_is_not_the_clients_error() -> None:
    connection = plain()
    busy = Unavailable("storage_full", "Full.")
    answers = [connection.failed(busy, "1", float(n)) for n in range(40)]
    assert {closed_with(a) for a in answers} == {None}


def test_a_flood_of_frames_ends_the_connection() -> None:
    connection = plain()
    codes = [closed_with(connection.receive('{"type":"pong"}', 1.0)) for _ in range(101)]
    assert codes == [None] * 100 + [Close.ABUSE]


def test_as_many_acknowledgements_are_welcome_as_events_were_sent_but_no_more() -> None:
    connection = full()

    def acknowledge(offset: int) -> Close | None:
        ack = json.dumps({"type": "ack", "positions": {STREAM: offset}})
        return closed_with(connection.receive(ack, 1.0))

    for offset in range(1, 201):
        connection.events(STREAM, entries(offset, offset), 1.0)
        assert acknowledge(offset) is None
    assert [acknowledge(200) for _ in range(101)] == [None] * 100 + [Close.ABUSE]


def test_nothing_is_sent_beyond_the_window_until_it_is_acknowledged() -> None:
    connection = full({"events": 16, "bytes": 16384})
    assert connection.flow.credit() == 16
    connection.events(STREAM, entries(1, 16), 1.0)
    assert connection.flow.credit() == 0
    (remember,) = connection.receive('{"type":"ack","positions":{"thread:t1":10}}', 2.0)
    assert remember == Remember("d1", {STREAM: 10})
    assert connection.flow.credit() == 10
    connection.events(STREAM, entries(17, 18, size=20_000), 3.0)
    assert connection.flow.credit() == 0  # the bytes are spent, though not the events


def test_acknowledging_what_was_not_sent_ends_the_connection() -> None:
    connection = full()
    connection.events(STREAM, entries(1, 3), 1.0)
    effects = connection.receive('{"type":"ack","positions":{"thread:t1":4}}', 2.0)
    assert closed_with(effects) == Close.PROTOCOL_VIOLATION


def test_acknowledgements_of_unknown_streams_or_backwards_change_nothing() -> None:
    connection = full({"events": 16})
    connection.events(STREAM, entries(1, 4), 1.0)
    connection.receive('{"type":"ack","positions":{"thread:t1":3}}', 2.0)
    for positions in ('{"thread:t1":1}', '{"thread:t1":-5}', '{"thread:other":9}'):
        effects = connection.receive(f'{{"type":"ack","positions":{positions}}}', 3.0)
        assert closed_with(effects) is None
    assert connection.flow.credit() == 15


def test_several_events_travel_in_one_message_to_clients_that_said_hello() -> None:
    (message,) = sent(full().events(STREAM, entries(1, 3), 1.0))
    assert len(message) == 3
    assert len(sent_plain()) == 3


def sent_plain() -> list[Any]:
    connection = plain()
    connection.flow.follow(STREAM, 0)
    return sent(connection.events(STREAM, entries(1, 3), 1.0))


def test_an_absurd_window_is_brought_to_reason() -> None:
    assert full({"events": 0}).flow.credit() == 16
    assert full({"events": 10**9}).flow.credit() == 4096


def test_who_says_nothing_is_closed_in_time() -> None:
    connection = Connection("k", 0.0, PACE)
    assert connection.tick(4.9, 0.0) == []
    assert closed_with(connection.tick(5.0, 0.0)) == Close.HELLO_TIMEOUT


def test_who_has_said_hello_is_not_late_however_long_the_server_looks_it_up() -> None:
    connection = Connection("k", 0.0, PACE)
    connection.receive('{"type":"hello","token":"t"}', 4.0)
    assert connection.tick(60.0, 0.0) == []
    by_headers = Connection("k", 0.0, PACE)
    by_headers.introduced()
    assert by_headers.tick(60.0, 0.0) == []


def test_a_silent_client_is_asked_and_then_closed() -> None:
    connection = full()
    assert connection.tick(17.9, 0.0) == []
    assert sent(connection.tick(22.0, 0.0)) == [{"type": "ping", "n": 1}]
    assert closed_with(connection.tick(32.0, 0.0)) == Close.HEARTBEAT
    alive = full()
    alive.tick(22.0, 0.0)
    alive.receive('{"type":"pong","n":1}', 25.0)
    assert alive.tick(32.0, 0.0) == []


def test_connections_do_not_all_ping_at_the_same_time() -> None:
    def first_ping(connection_id: str) -> int:
        connection = Connection(connection_id, 0.0, PACE)
        connection.receive('{"type":"hello","token":"x"}', 0.0)
        connection.authenticated(ANA, NEVER)
        return next(t for t in range(1800, 2300) if connection.tick(t / 100, 0.0))

    firsts = {first_ping(f"k{n}") for n in range(50)}
    assert min(firsts) >= 1800
    assert max(firsts) <= 2200
    assert max(firsts) - min(firsts) > 300


def test_a_client_that_never_acknowledges_is_closed() -> None:
    connection = full()
    connection.events(STREAM, entries(1, 1), 1.0)
    connection.receive('{"type":"pong","n":0}', 20.0)
    assert closed_with(connection.tick(30.9, 0.0)) is None
    assert closed_with(connection.tick(31.0, 0.0)) == Close.ACKS_STALLED


def test_an_expiring_token_is_announced_and_then_ends_the_connection() -> None:
    connection = Connection("k", 0.0, PACE)
    connection.opened(ANA, 1_000.0)
    assert connection.tick(1.0, 939.0) == []
    assert sent(connection.tick(2.0, 940.0)) == [{"type": "auth_expiring", "in_seconds": 60}]
    assert connection.tick(3.0, 1_024.0) == []
    assert closed_with(connection.tick(4.0, 1_025.0)) == Close.TOKEN_EXPIRED
    renewed = Connection("k", 0.0, PACE)
    renewed.opened(ANA, 1_000.0)
    renewed.tick(1.0, 950.0)
    renewed.authenticated(ANA, 2_000.0)
    assert renewed.tick(2.0, 1_030.0) == []


def test_hello_is_said_once_and_in_a_version_that_exists() -> None:
    assert closed_with(full().receive('{"type":"hello"}', 1.0)) == Close.PROTOCOL_VIOLATION
    for versions in ("[]", "[99]"):
        effects = Connection("k", 0.0, PACE).receive(
            f'{{"type":"hello","versions":{versions}}}', 0.0
        )
        assert closed_with(effects) == Close.NO_COMMON_VERSION


def test_the_first_frame_of_a_stranger_is_small() -> None:
    text = json.dumps({"type": "hello", "token": "x" * 8192})
    assert closed_with(Connection("k", 0.0, PACE).receive(text, 0.0)) == Close.BAD_FRAME


def test_too_many_streams_have_their_own_answer() -> None:
    assert rules.too_many_streams().code == "too_many_streams"


def test_a_command_after_the_token_has_ended_is_refused_but_events_flow_on() -> None:
    connection = full()
    connection.authenticated(ANA, 1_000.0)
    connection.tick(1.0, 1_001.0)
    (refused,) = sent(connection.receive('{"type":"chat","id":"9","payload":{"text":"hi"}}', 2.0))
    assert (refused["code"], refused["ref"]) == ("token_expired", "9")
    assert sent(connection.events(STREAM, entries(1, 1), 3.0))
    connection.receive('{"type":"auth","token":"y"}', 4.0)
    connection.authenticated(ANA, 2_000.0)
    (carry,) = connection.receive('{"type":"chat","id":"9","payload":{"text":"hi"}}', 5.0)
    assert isinstance(carry, Carry)


def test_a_stream_that_cannot_go_on_is_reset_and_owes_nothing() -> None:
    connection = full({"events": 16})
    connection.events(STREAM, entries(1, 16), 1.0)
    (reset,) = sent(connection.ended(STREAM, Conflict("cursor_trimmed", "gone")))
    assert reset == {
        "type": "reset",
        "stream": STREAM,
        "why": "retention",
        "snapshot": "/api/threads/t1/snapshot",
    }
    assert connection.flow.credit() == 16
    (deleted,) = sent(connection.ended(STREAM, NotFound()))
    assert deleted == {"type": "reset", "stream": STREAM, "why": "deleted"}


def test_a_stream_subscribed_anew_owes_nothing_of_its_earlier_reading() -> None:
    connection = full({"events": 16})
    connection.events(STREAM, entries(1, 10), 1.0)
    connection.flow.follow(STREAM, 3)
    assert connection.flow.credit() == 16
    on_its_way = json.dumps({"type": "ack", "positions": {STREAM: 10}})
    assert closed_with(connection.receive(on_its_way, 2.0)) is None
    ack = json.dumps({"type": "ack", "positions": {STREAM: 11}})
    assert closed_with(connection.receive(ack, 2.0)) == Close.PROTOCOL_VIOLATION


def test_a_drain_is_told_to_those_who_are_known() -> None:
    assert Connection("k", 0.0, PACE).drain(5000) == []
    (drain,) = sent(full().drain(5000))
    assert drain == {"type": "drain", "reconnect_within_ms": [0, 5000]}


def test_a_reported_mismatch_is_passed_on_and_not_answered() -> None:
    proof = {"count": 1, "digest": "00000000"}
    report = {"type": "mismatch", "stream": STREAM, "run_id": "r1", "expected": proof, "got": proof}
    (effect,) = full().receive(json.dumps(report), 1.0)
    assert isinstance(effect, Miscounted)
    assert effect.mismatch.run_id == "r1"
