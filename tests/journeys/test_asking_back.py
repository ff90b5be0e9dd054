"""A run asks its user: answered over HTTP, over a socket, from another device, at the terminal."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.harness.server import ROOT, Client, ServerProcess, User, add_users, serving
from tidings.app import new_ids
from tidings.cli.ask import Inquiry, Server, ask

ASK = {"agent": "shopper"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    program = ROOT / "examples" / "asking_agent.py"
    with serving(tmp_path_factory.mktemp("asking") / "data", program) as process:
        yield process


@pytest.fixture(scope="module")
def ana(server: ServerProcess) -> User:
    return asyncio.run(add_users(server, "asking-ana"))[0]


def http(user: User, method: str, path: str, body: Any = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {user.token}"}
    with httpx2.Client(base_url=user.server.url, headers=headers, trust_env=False) as client:
        return client.request(method, path, json=body)


def answered(run_id: str, size: str, id: str = "a-1") -> dict[str, Any]:
    payload = {"run_id": run_id, "request_id": "q1", "value": size}
    return {"type": "answer", "id": id, "payload": payload}


async def begun(client: Client, id: str) -> str:
    """Ask; return the run when it waits for the size."""
    payload = ASK | {"user_request": "a server, please"}
    await client.send({"type": "start_agent", "id": id, "payload": payload})
    accepted = await client.until(lambda f: f.get("ref") == id)
    await client.until(
        lambda f: f["type"] == "input_required" and f["run_id"] == accepted["run_id"]
    )
    return str(accepted["run_id"])


def test_an_answer_over_http_counts_once_and_every_socket_hears_it(ana: User) -> None:
    async def scenario() -> None:
        async with ana.connected() as client:
            run_id = await begun(client, "http-1")
            assert http(ana, "get", f"/api/runs/{run_id}").json()["state"] == "waiting"
            refused = http(ana, "post", "/api/commands", answered(run_id, "huge"))
            assert (refused.status_code, refused.json()["code"]) == (422, "answer_unfit")
            first = http(ana, "post", "/api/commands", answered(run_id, "large")).json()
            again = http(ana, "post", "/api/commands", answered(run_id, "large")).json()
            assert again == first | {"duplicate": True}
            settled = await client.until(lambda f: f["type"] == "request_settled")
            assert (settled["offset"], settled["payload"]["value"]) == (first["offset"], "large")
            events = await client.until_end(run_id)
        assert "A large server is ordered" in events[-1]["payload"]["answer"]

    asyncio.run(scenario())


def test_leave_is_given_over_a_socket_after_the_server_was_killed(
    server: ServerProcess, ana: User
) -> None:
    async def asked() -> tuple[str, dict[str, Any]]:
        said = {"permissions": {"order": "ask"}}
        assert http(ana, "put", "/api/permissions", said).status_code == 200
        async with ana.connected() as client:
            run_id = await begun(client, "ws-1")
            await client.send(answered(run_id, "small", "a-2"))
            frame = await client.until(lambda f: f["type"] == "approval_required")
            return run_id, frame

    async def allowed(run_id: str, asked: dict[str, Any]) -> dict[str, Any]:
        leave = {
            "run_id": run_id,
            "call_id": asked["payload"]["call_id"],
            "decision": "allow",
            "arguments_hash": asked["payload"]["arguments_hash"],
        }
        async with ana.connected() as client:
            await client.send({"type": "subscribe", "stream": asked["stream"], "cursor": "0"})
            await client.send({"type": "approve", "id": "ok-1", "payload": leave})
            await client.until(lambda f: f.get("ref") == "ok-1")
            return (await client.until_end(run_id))[-1]

    run_id, frame = asyncio.run(asked())
    assert frame["payload"]["arguments"] == {"size": "small"}
    server.kill()
    server.start()
    end = asyncio.run(allowed(run_id, frame))
    assert "A small server is ordered" in end["payload"]["answer"]
    assert http(ana, "put", "/api/permissions", {"permissions": {"order": None}}).json()["tools"]
    usage = http(ana, "get", "/api/usage").json()
    assert usage["spent"]["tool_calls"] >= 1
    assert usage["limits"]["run_steps"] > 0


def test_a_person_at_the_terminal_is_asked(ana: User) -> None:
    prompts: list[str] = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        return "large"

    inquiry = Inquiry("a server, please", agent="shopper")
    target = Server(ana.server.url, ana.token)
    end = asyncio.run(ask(target, inquiry, new_ids(), lambda _: None, read))
    assert len(prompts) == 1
    assert "A large server is ordered" in end.payload["answer"]


def test_a_permission_is_for_a_tool_that_there_is(ana: User) -> None:
    wrong = http(ana, "put", "/api/permissions", {"permissions": {"no_such": "deny"}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unknown_tool")
    odd = http(ana, "put", "/api/permissions", {"permissions": {"order": "perhaps"}})
    assert odd.status_code == 422
