"""Bad input that takes a program, or others to look on. The rest is `tests/conformance/server`."""

import asyncio
import json

from tests.harness.server import ServerProcess, User, add_users

TEXTS = (
    "x" * 20_000,
    "مرحبا \u202eright to left",
    "👩‍👩‍👧‍👦 in one piece",
    "</script><script>alert(1)</script>",
    "\u001b[31mred\u001b[0m \u2028 \u2029 \ufeff",
    "{{fact:c1.total}} ${7*7} %s {0} \\ \" ' `",
)


def test_what_is_too_deep_or_too_large_is_answered(user: User) -> None:
    async def scenario() -> None:
        for text in (
            '{"type":"chat","id":"1","payload":' + '{"a":' * 5_000 + "1" + "}" * 5_001,
            '{"type":"chat","id":"1","__proto__":{"x":1},"payload":{"text":""}}',
            '{"type":"ack","positions":{"a":' + "9" * 5_000 + "}}",
        ):
            async with user.connected() as client:
                await client.send(text)
                assert (await client.next())["type"] == "error"

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
