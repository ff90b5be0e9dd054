"""What is on the wire is what its schema says, for every frame and event of a real conversation."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from websockets.asyncio.client import connect

from tests.harness.server import Client, ServerProcess, User, add_users, serving
from tidings.domain.events import EventType
from tidings.domain.payloads import PAYLOADS

LOG = "ts,model,input_tokens,output_tokens\n2026-01-02T03:04:05Z,gpt-4o,100,20\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("wire") / "data") as process:
        yield process


@pytest.fixture(scope="module")
def frames(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Everything a full client hears that makes a mistake, asks, stops a run and is refused."""
    (user,) = asyncio.run(add_users(server, "wire-ana"))
    path = tmp_path_factory.mktemp("wire") / "log.csv"
    path.write_text(LOG)
    return asyncio.run(conversation(user, path))


async def conversation(user: User, path: Path) -> list[dict[str, Any]]:
    file_id = await user.upload(path)
    url = user.server.url.replace("http", "ws") + "/ws"
    async with connect(url, proxy=None) as socket:
        client = Client(socket)
        heard: list[dict[str, Any]] = []

        async def until(found: Any) -> dict[str, Any]:
            while True:
                async with asyncio.timeout(30):
                    message = json.loads(await socket.recv())
                batch = message if isinstance(message, list) else [message]
                heard.extend(batch)
                for frame in batch:
                    if found(frame):
                        return dict(frame)

        await client.send({"type": "hello", "token": user.token, "device": "d"})
        greeting = await until(lambda f: f["type"] == "connection_established")
        mine = f"user:{greeting['user_id']}"
        await client.send({"type": "no_such_type", "id": "1"})
        await client.send({"type": "subscribe", "stream": mine, "cursor": "abc.999.AAAAAAAA"})
        await until(lambda f: f["type"] in {"reset", "error"} and f.get("stream") == mine)
        await client.send({"type": "subscribe", "stream": mine, "cursor": "0"})
        said = {"text": "What did we spend, by model?", "files": [file_id]}
        await client.send({"type": "chat", "id": "2", "payload": said})
        await until(lambda f: f["type"].startswith("agent_c"))
        await client.send({"type": "chat", "id": "3", "payload": said})
        accepted = await until(lambda f: f.get("ref") == "3")
        stop = {"type": "stop_agent", "id": "4", "payload": {"run_id": accepted["run_id"]}}
        await client.send(stop)
        await until(
            lambda f: (
                f["type"] == "thread_activity"
                and f["payload"]["run_id"] == accepted["run_id"]
                and f["payload"]["state"] == "ended"
            )
        )
        return heard


def test_every_frame_fits_the_schema_that_the_server_gives(
    server: ServerProcess, frames: list[dict[str, Any]]
) -> None:
    schema = httpx2.get(f"{server.url}/schema.json").json()
    Draft202012Validator.check_schema(schema)
    one = schema | {"$ref": "#/$defs/ServerMessage"}
    validator = Draft202012Validator(one)
    for frame in frames:
        validator.validate(frame)
    validator.validate(frames)
    assert not validator.is_valid({"type": "live", "stream": "thread:t"})
    assert not validator.is_valid({"type": "no_such_type"})


def test_every_payload_has_the_fields_of_its_type_and_no_others(
    frames: list[dict[str, Any]],
) -> None:
    seen = set()
    for frame in frames:
        if "event_id" not in frame or frame["type"] == "notice":
            continue
        seen.add(frame["type"])
        fields = set(PAYLOADS[EventType(frame["type"])].__struct_fields__)
        assert set(frame["payload"]) <= fields, frame["type"]
    assert {"agent_started", "tool_completed", "agent_completed", "thread_activity"} <= seen


def test_every_type_of_event_has_a_payload() -> None:
    assert PAYLOADS.keys() == set(EventType)


def test_the_asyncapi_document_names_every_message(server: ServerProcess) -> None:
    document = httpx2.get(f"{server.url}/asyncapi.json").json()
    named = document["components"]["messages"]
    assert document["asyncapi"] == "3.0.0"
    assert {"Hello", "Ack", "ConnectionEstablished", "AgentCompletedEvent"} <= named.keys()
    told = [m["$ref"] for o in document["operations"].values() for m in o["messages"]]
    assert sorted(told) == sorted(f"#/channels/socket/messages/{name}" for name in named)
    for message in named.values():
        schema = message["payload"]["$ref"].removeprefix("#/components/schemas/")
        assert schema in document["components"]["schemas"]
