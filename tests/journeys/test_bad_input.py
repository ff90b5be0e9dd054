"""Bad input over real sockets, row by row: each has its own answer, and the server is unharmed."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.harness.server import Client, ServerProcess, User, add_users
from tidings.protocol.frames import FRAME_BYTES_MAX, SUBSCRIPTIONS_MAX

HELLO_SECONDS = 5.0
TEXTS = (
    "x" * 20_000,
    "مرحبا \u202eright to left",
    "👩‍👩‍👧‍👦 in one piece",
    "</script><script>alert(1)</script>",
    "\u001b[31mred\u001b[0m \u2028 \u2029 \ufeff",
    "{{fact:c1.total}} ${7*7} %s {0} \\ \" ' `",
)


def socket_to(server: ServerProcess) -> connect:
    return connect(server.url.replace("http", "ws") + "/ws", proxy=None)


async def code_of(socket: ClientConnection, *messages: Any) -> int:
    """Send, and return the code that the server closes with."""
    client = Client(socket)
    for message in messages:
        await client.send(message)
    return await client.closed()


STRANGERS: dict[str, tuple[Any, int]] = {
    "a command before hello": ({"type": "chat", "id": "1", "payload": {"text": "hi"}}, 4422),
    "an ack before hello": ({"type": "ack", "positions": {}}, 4422),
    "no version": ({"type": "hello", "versions": []}, 4418),
    "a version that is not": ({"type": "hello", "versions": [99]}, 4418),
    "no credentials": ({"type": "hello"}, 4401),
    "a token of 4 KB": ({"type": "hello", "token": "a" * 4_000}, 4401),
    "a token of 1 MB": ({"type": "hello", "token": "a" * 60_000}, 4400),
    "an array of nothing": ("[]", 4400),
    "an array of scalars": ("[1, 2]", 4400),
    "null": ("null", 4400),
    "true": ("true", 4400),
    "a BOM": ("\ufeff{}", 4400),
    "half a frame": ('{"type":"hello"', 4400),
    "two frames in one": ('{"type":"hello"}{"type":"hello"}', 4400),
    "NaN": ('{"type":"hello","versions":[NaN]}', 4400),
    "a binary frame": (b"{}", 1003),
}


@pytest.mark.parametrize(("message", "code"), STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_is_sent_away_by_the_right_code(
    server: ServerProcess, message: Any, code: int
) -> None:
    async def scenario() -> None:
        async with socket_to(server) as socket:
            assert await code_of(socket, message) == code

    asyncio.run(scenario())


def test_who_says_nothing_is_sent_away_after_five_seconds(server: ServerProcess) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with socket_to(server) as socket:
            assert await code_of(socket) == 4408
        assert HELLO_SECONDS - 1 < loop.time() - begun < HELLO_SECONDS + 3

    asyncio.run(scenario())


FRAMES: dict[str, tuple[dict[str, Any], str]] = {
    "a type of 10 KB": ({"type": "x" * 10_000}, "unknown_type"),
    "a type that is a number": ({"type": 7}, "unknown_type"),
    "no id": ({"type": "chat", "payload": {"text": "hi"}}, "bad_message"),
    "an id of 10 KB": (
        {"type": "chat", "id": "x" * 10_000, "payload": {"text": "hi"}},
        "bad_message",
    ),
    "an id that is a number": ({"type": "chat", "id": 1, "payload": {"text": "hi"}}, "bad_message"),
    "a stream with a path": ({"type": "subscribe", "stream": "thread:../../x"}, "not_found"),
    "a stream of nothing": ({"type": "subscribe", "stream": ""}, "not_found"),
    "a stream of SQL": ({"type": "subscribe", "stream": "thread:' or 1=1 --"}, "not_found"),
    "a NUL in a stream": ({"type": "subscribe", "stream": "thread:\0"}, "not_found"),
    "an ack that is a float": ({"type": "ack", "positions": {"thread:x": 1.5}}, "bad_message"),
    "an ack that is text": ({"type": "ack", "positions": {"thread:x": "1"}}, "bad_message"),
}


@pytest.mark.parametrize(("frame", "code"), FRAMES.values(), ids=FRAMES.keys())
def test_a_bad_frame_is_answered_and_the_connection_goes_on(
    user: User, frame: dict[str, Any], code: str
) -> None:
    async def scenario() -> None:
        async with user.connected() as client:
            await client.send(frame)
            answer = await client.next()
            assert (answer["type"], answer["code"]) == ("error", code)
            assert len(json.dumps(answer)) < 1_000
            await client.send({"type": "nothing", "id": "after"})
            assert (await client.next())["ref"] == "after"

    asyncio.run(scenario())


def test_an_array_of_deep_or_doubled_keys_harms_nobody(user: User) -> None:
    async def scenario() -> None:
        for text in (
            '{"type":"chat","id":"1","payload":' + '{"a":' * 5_000 + "1" + "}" * 5_001,
            '{"type":"chat","id":"1","__proto__":{"x":1},"payload":{"text":""}}',
            '{"type":"pong","type":"chat","id":"1"}',
            '{"type":"chat","id":"1","payload":{"text":"\\ud800"}}',
            '{"type":"ack","positions":{"a":' + "9" * 5_000 + "}}",
        ):
            async with user.connected() as client:
                await client.send(text)
                assert (await client.next())["type"] == "error"

    asyncio.run(scenario())


@pytest.mark.parametrize("extra", [0, 1])
def test_a_frame_may_be_as_long_as_the_limit_and_no_longer(user: User, extra: int) -> None:
    async def scenario() -> None:
        frame = '{"type":"pong","n":1,"pad":"' + '"}'
        padding = "x" * (FRAME_BYTES_MAX - len(frame) + extra)
        async with user.connected() as client:
            await client.send(frame.replace('"pad":"', f'"pad":"{padding}'))
            if extra:
                assert await client.closed() == 1009
            else:
                await client.send({"type": "nothing", "id": "after"})
                assert (await client.next())["ref"] == "after"

    asyncio.run(scenario())


def test_acks_that_cannot_be_end_the_connection_and_old_ones_do_not(user: User) -> None:
    async def scenario() -> None:
        async with user.connected() as client:
            accepted = await client.ask("hi", "acks")
            events = await client.until_end(accepted["run_id"])
            stream, last = events[0]["stream"], events[-1]["offset"]
            for offset in (last, 1, 0, -1, -(2**70), last):
                await client.send({"type": "ack", "positions": {stream: offset}})
            await client.send({"type": "ack", "positions": {"thread:unknown": 2**70}})
            await client.send({"type": "nothing", "id": "after"})
            assert (await client.next())["ref"] == "after"
            await client.send({"type": "ack", "positions": {stream: last + 1}})
            assert await client.closed() == 4422

    asyncio.run(scenario())


def test_a_flood_is_ended_and_others_are_served(server: ServerProcess, user: User) -> None:
    async def scenario() -> None:
        (other,) = await add_users(server, "bad-input-other")
        async with user.connected() as flooding, other.connected() as client:
            for n in range(300):
                await flooding.socket.send(json.dumps({"type": "pong", "n": n}))
            assert await flooding.closed() == 4429
            accepted = await client.ask("hi", "m1")
            await client.until_end(accepted["run_id"])

    asyncio.run(scenario())


def test_too_many_streams_have_an_answer_and_the_first_ones_stay(user: User) -> None:
    async def scenario() -> None:
        async with user.connected() as client:
            accepted = await client.ask("hi", "streams")
            await client.until_end(accepted["run_id"])
        stream = f"thread:{accepted['thread_id']}"
        hello = {"type": "hello", "device": "d1", "subscribe": []}
        async with user.connected() as client:
            many = [{"stream": f"t:{n}"} for n in range(SUBSCRIPTIONS_MAX + 1)]
            await client.send(hello | {"subscribe": many})
            assert await client.closed() == 4422
        async with user.connected() as client:
            for _ in range(2):
                await client.send({"type": "subscribe", "stream": stream, "cursor": "live"})
                assert (await client.until(lambda f: f["type"] != "subscribed"))["type"] == "live"

    asyncio.run(scenario())


@pytest.mark.parametrize("events", [0, 1, -5, 10**9])
def test_a_senseless_window_is_clamped(user: User, events: int) -> None:
    async def scenario() -> None:
        window = {"events": events, "bytes": events}
        async with user.connected() as client:
            await client.send({"type": "hello", "device": "d1", "window": window})
            limits = (await client.next())["limits"]
            assert 16 <= limits["window_events"] <= 4096
            assert 16 * 1024 <= limits["window_bytes"] <= 4 * 1024**2

    asyncio.run(scenario())


def test_text_comes_back_as_it_was_said(user: User) -> None:
    async def scenario() -> None:
        async with user.connected() as client:
            for number, text in enumerate(TEXTS):
                accepted = await client.ask(text, f"text-{number}")
                events = await client.until_end(accepted["run_id"])
                assert events[0]["payload"]["text"] == text

    asyncio.run(scenario())


def test_clients_that_vanish_leave_nothing_behind(server: ServerProcess, user: User) -> None:
    async def scenario() -> None:
        for n in range(20):
            async with user.connected() as client:
                await client.send({"type": "pong", "n": n})
                client.socket.transport.abort()
        async with user.connected() as client:
            accepted = await client.ask("hi", "after-them")
            assert (await client.until_end(accepted["run_id"]))[-1]["type"] == "agent_completed"

    asyncio.run(scenario())
