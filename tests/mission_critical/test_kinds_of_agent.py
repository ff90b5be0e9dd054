"""The same promises for every kind of agent: plain, of pydantic-ai, a workflow of both.

On a real server process over real sockets; the target of payments counts them.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness.programs.kinds import ANSWER
from tests.harness.server import ROOT, Client, ServerProcess, User, add_users, serving
from tests.harness.stopwatch import stopwatch
from tidings.client.session import Session, always
from tidings.domain.commands import StartAgent, StartPayload
from tidings.domain.events import TERMINAL

PROGRAM = ROOT / "tests" / "harness" / "programs" / "kinds.py"
KINDS = ("plain", "pydantic", "workflow")
STOP_SECONDS_MAX = 1.0
CALLS_MAX = 3
KILL_AFTER_EVENTS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("kinds"), PROGRAM) as process:
        yield process


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose runs have little time and few calls."""
    folder = tmp_path_factory.mktemp("strict")
    plans = folder / "plans.toml"
    plans.write_text(f"[plans.default]\nrun_tool_calls = {CALLS_MAX}\n")
    process = ServerProcess(folder / "data", PROGRAM)
    process.extra = {"TIDINGS_RUN_SECONDS": "6", "TIDINGS_PLANS": str(plans)}
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def ana(server: ServerProcess) -> User:
    return asyncio.run(add_users(server, "ana"))[0]


@pytest.fixture(scope="module")
def eve(strict: ServerProcess) -> User:
    return asyncio.run(add_users(strict, "eve"))[0]


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    return tmp_path / "payments"


def paid(payments: Path) -> int:
    return len(payments.read_text().split()) if payments.exists() else 0


async def run(user: User, kind: str, text: str, id: str) -> list[dict[str, Any]]:
    """Return the events of a run, to its end."""
    async with user.connected() as client:
        accepted = await client.ask(text, id, agent=kind)
        return await client.until_end(accepted["run_id"])


def check(events: list[dict[str, Any]], calls: list[str], end: str = "agent_completed") -> None:
    """Check a story: each critical event once, in order, and nothing left open."""
    types = [e["type"] for e in events]
    assert types[0] == "message_received"
    assert next(t for t in types[1:] if t != "notice") == "agent_started"  # one may be told to wait
    assert types.count("agent_started") == 1
    assert types[-1] == end
    assert sum(t in TERMINAL for t in types) == 1
    assert [e["offset"] for e in events] == sorted({e["offset"] for e in events})
    begun = [e["payload"] for e in events if e["type"] == "tool_executing"]
    assert sorted((p["call_id"], p["tool"]) for p in begun) == [
        (f"c{number}", tool) for number, tool in enumerate(calls, start=1)
    ]
    for call in begun:
        own = [e["type"] for e in events if e["payload"].get("call_id") == call["call_id"]]
        assert [t for t in own if t.startswith("tool_")] == ["tool_executing", "tool_completed"]
    assert types.count("subagent_started") == types.count("subagent_completed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_shows_all_it_does_in_order(ana: User, kind: str, payments: Path) -> None:
    events = asyncio.run(run(ana, kind, f"look,pay,slow {payments}", f"order-{kind}"))
    check(events, ["look", "pay", "slow"])
    assert paid(payments) == 1
    end = events[-1]["payload"]
    assert (end["answer"].strip(), end["status"]) == (ANSWER, "completed")
    assert end["summary"]["tools"] == 3
    text = "".join(e["payload"]["text"] for e in events if e["type"] == "answer_delta")
    assert text == ANSWER
    if kind != "pydantic":
        assert "agent_thinking" in [e["type"] for e in events]


def test_users_of_every_kind_at_once_see_nothing_of_each_other(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def one(user: User, kind: str) -> tuple[str, bytes]:
        secret = f"{tmp_path}/{user.name}-secret"
        async with user.connected() as client:
            accepted = await client.ask(f"look,pay,look {secret}", "m1", agent=kind)
            check(await client.until_end(accepted["run_id"]), ["look", "pay", "look"])
            return secret, client.bytes

    async def scenario() -> None:
        users = await add_users(server, *(f"user{n}" for n in range(9)))
        async with asyncio.TaskGroup() as tasks:
            seen = [tasks.create_task(one(u, KINDS[n % 3])) for n, u in enumerate(users)]
        for mine in seen:
            secret, heard = mine.result()
            assert secret.encode() in heard
            assert not any(o.result()[0].encode() in heard for o in seen if o is not mine)
            assert paid(Path(secret)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_goes_on_and_pays_once_at_most(
    server: ServerProcess, ana: User, payments: Path, kind: str
) -> None:
    async def scenario() -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        async with Session(server.url, always(ana.token), "d1", random.Random(1)) as session:
            asked = StartPayload(f"look,slow,pay {payments}", kind)
            receipt = await session.send(StartAgent(f"kill-{kind}", asked))
            async for applied in session.events():
                if applied.event.run_id != receipt.run_id:
                    continue
                events.append(json.loads(applied.raw))
                if len(events) == KILL_AFTER_EVENTS:
                    server.kill()
                    server.start()
                if applied.event.type in TERMINAL:
                    return events
        raise AssertionError

    events = asyncio.run(scenario())
    check(events, ["look", "slow", "pay"])
    ended = [e["payload"] for e in events if e["type"] == "tool_completed"]
    (payment,) = [call for call in ended if call["tool"] == "pay"]
    assert all(call["ok"] for call in ended if call is not payment)
    if payment["ok"]:
        assert paid(payments) == 1
    else:
        assert payment["error"]["code"] == "outcome_unknown"
        assert paid(payments) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_takes_effect_within_a_second(
    ana: User, payments: Path, tmp_path: Path, kind: str
) -> None:
    async def scenario() -> None:
        async with ana.connected() as client:
            accepted = await client.ask(f"look,hang {payments}", f"stop-{kind}", agent=kind)
            await client.until(lambda f: f["type"] == "tool_completed")
            payload = {"run_id": accepted["run_id"]}
            async with stopwatch(tmp_path) as watch:
                await client.send({"type": "stop_agent", "id": f"halt-{kind}", "payload": payload})
                events = await client.until_end(accepted["run_id"])
            assert watch.seconds < STOP_SECONDS_MAX
        check(events, ["look", "hang"], "agent_cancelled")
        assert events[-1]["payload"]["step"]["name"] == "hang"

    asyncio.run(scenario())


def test_a_run_of_every_kind_ends_at_its_deadline(eve: User, payments: Path) -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(run(eve, k, f"look,hang {payments}", k)) for k in KINDS]
        for ended in runs:
            check(ended.result(), ["look", "hang"], "agent_failed")
            assert ended.result()[-1]["payload"]["code"] == "deadline_exceeded"

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_at_its_budget(eve: User, payments: Path, kind: str) -> None:
    names = ",".join(["look", "look", "slow", "pay"])
    events = asyncio.run(run(eve, kind, f"{names} {payments}", f"budget-{kind}"))
    end = events[-1]
    assert (end["type"], end["payload"]["reason"]) == ("agent_cancelled", "budget")
    assert end["payload"]["limit"] == "run_tool_calls"
    types = [e["type"] for e in events]
    assert types.count("tool_executing") == types.count("tool_completed")
    assert paid(payments) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_waits_for_leave_over_a_kill(
    server: ServerProcess, payments: Path, kind: str
) -> None:
    """One that needs none is made beside it; the payment only when its user has said so."""

    async def scenario() -> None:
        (user,) = await add_users(server, f"careful-{kind}")
        headers = {"Authorization": f"Bearer {user.token}"}
        wish = {"permissions": {"pay": "ask"}}
        url = f"{server.url}/api/permissions"
        httpx2.put(url, json=wish, headers=headers, trust_env=False).raise_for_status()
        async with user.connected() as client:
            accepted = await client.ask(f"pay,look {payments}", "m1", agent=kind)
            asked = await client.until(lambda f: f["type"] == "approval_required")
            before = [e for e in client.heard if "event_id" in e]
            assert [e["payload"]["tool"] for e in before if e["type"] == "tool_completed"] == [
                "look"
            ]
        server.kill()
        server.start()
        assert paid(payments) == 0
        async with user.connected() as client:
            await leave(client, accepted["run_id"], asked["payload"])
            after = await client.until_end(accepted["run_id"])
        assert paid(payments) == 1
        assert after[-1]["type"] == "agent_completed"
        assert [e["payload"]["tool"] for e in after if e["type"] == "tool_completed"] == ["pay"]

    asyncio.run(scenario())


async def leave(client: Client, run_id: str, asked: dict[str, Any]) -> None:
    """Give leave, then follow what comes of it."""
    payload = {
        "run_id": run_id,
        "call_id": asked["call_id"],
        "decision": "allow",
        "arguments_hash": asked["arguments_hash"],
    }
    await client.send({"type": "approve", "id": "yes-1", "payload": payload})
    await client.until(lambda frame: frame.get("ref") == "yes-1")
