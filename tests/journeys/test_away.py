"""A user who is away hears of the end of a run; one who saw it does not. Rows F47, F48 and F50."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.receiver import GOOD, SILENT, Receiver, receiving
from tests.harness.programs import impatient
from tests.harness.server import Client, ServerProcess, User, a_server, add_users
from tidings.client.session import Session, always
from tidings.domain.commands import StartAgent, StartPayload


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = a_server(tmp_path / "data", Path(impatient.__file__))
    try:
        yield process
    finally:
        if process.is_running():
            process.stop()
        process.close()


async def http(user: User, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {user.token}"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers) as client:
        answer = await client.request(method, user.server.url + path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


async def ask(user: User, text: str) -> str:
    """Start a run without a socket; return its id."""
    payload = {"user_request": text, "agent": "echo"}
    command = {"type": "start_agent", "id": text.replace(" ", "-"), "payload": payload}
    return str((await http(user, "POST", "/api/commands", command))["run_id"])


async def runs_told(client: Client, count: int) -> list[str]:
    """Return the runs of so many items, as the user's stream tells of them."""
    for _ in range(count):
        await client.until(lambda frame: frame["type"] == "inbox_item")
    items = [frame for frame in client.heard if frame["type"] == "inbox_item"]
    return [item["payload"]["run_id"] for item in items]


async def followed(client: Client) -> Client:
    """Follow the user's own stream from its head."""
    stream = f"user:{client.heard[0]['user_id']}"
    await client.send({"type": "subscribe", "stream": stream, "cursor": "live"})
    await client.until(lambda frame: frame["type"] == "live")
    return client


async def start(server: ServerProcess, receiver: Receiver) -> User:
    server.extra = {"TIDINGS_WEBHOOK_HOSTS": receiver.host}
    server.start()
    [user] = await add_users(server, "ana")
    await http(user, "POST", "/api/threads", {"title": "so that there is a stream"})
    await http(user, "POST", "/api/webhooks", {"url": receiver.url})
    return user


def test_f47_one_item_and_one_call_for_who_was_away_none_for_who_acknowledged(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            user = await start(server, receiver)
            async with user.connected() as plain:
                await followed(plain)
                session = Session(server.url, always(user.token), "d_seeing", random.Random(1))
                async with session:
                    seen = StartAgent("seen", StartPayload("I am here", "echo"))
                    await session.send(seen)
                    async for applied in session.events():
                        if applied.event.type == "agent_completed":
                            break  # and leave at once, as a program does that has its answer
                away = await ask(user, "I am away")
                assert await runs_told(plain, 1) == [away]
            await receiver.until(1)
            inbox = await http(user, "GET", "/api/inbox")
            [item] = inbox["items"]
            assert (item["run_id"], item["status"], inbox["unread"]) == (away, "completed", 1)
            await http(user, "POST", f"/api/inbox/{item['item_id']}/read")
            assert (await http(user, "GET", "/api/inbox?unread=true"))["items"] == []
            [received] = receiver.received
            assert json.loads(received.body)["data"]["run_id"] == away
            assert server.metric("tidings_inbox_items_total") == 1

    asyncio.run(scenario())


def test_f47_what_is_acknowledged_over_http_has_been_heard(server: ServerProcess) -> None:
    """A reader without a socket says by a request how far it is."""

    async def scenario() -> None:
        async with receiving() as receiver:
            user = await start(server, receiver)
            async with user.connected() as plain:
                await followed(plain)
                accepted = await plain.ask("Read me by other means", "c1", agent="echo")
                end = (await plain.until_end(accepted["run_id"]))[-1]
                applied = {"device": "d_reader", "positions": {end["stream"]: end["offset"]}}
                await http(user, "PUT", "/api/positions", applied)
                away = await ask(user, "I am away")
                assert await runs_told(plain, 1) == [away]

    asyncio.run(scenario())


def test_f48_a_device_that_is_connected_and_says_nothing_has_not_heard(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            user = await start(server, receiver)
            async with user.connected() as plain, user.connected() as mute:
                await followed(plain)
                await mute.send({"type": "hello", "device": "d_mute", "versions": [1]})
                payload = {"user_request": "Are you there?", "agent": "echo"}
                await mute.send({"type": "start_agent", "id": "c1", "payload": payload})
                await mute.socket.recv()  # the greeting; nothing is read any more
                [told] = await runs_told(plain, 1)
                await receiver.until(1)
                assert json.loads(receiver.received[0].body)["data"]["run_id"] == told

    asyncio.run(scenario())


def test_f50_killed_before_the_look_and_in_the_call_it_is_told_once_and_called_again(
    server: ServerProcess,
) -> None:
    """The first kill falls between the end and its due time, the second before the 200 arrives."""

    async def scenario() -> None:
        async with receiving(SILENT, GOOD) as receiver:
            user = await start(server, receiver)
            async with user.connected() as client:
                accepted = await client.ask("Remember this", "c1", agent="echo")
                await client.until_end(accepted["run_id"])
            server.kill()
            assert receiver.received == []
            server.start()
            await receiver.until(1)
            server.kill()
            server.start()
            await receiver.until(2)
            first, second = receiver.received
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert first.body == second.body
            inbox = await http(user, "GET", "/api/inbox")
            assert [item["run_id"] for item in inbox["items"]] == [accepted["run_id"]]

    asyncio.run(scenario())
