"""The examples: short, served by their own process, and they do what they say over a socket."""

import asyncio
import re
import sys
from pathlib import Path

import httpx2
import pytest

from examples import served_by_hand
from tests.harness.cli import tidings
from tests.harness.server import ROOT, ServerProcess, add_users, check_story, serving
from tests.tools.mcp.bench import bench
from tidings.tools.mcp.configuration import ToolServer

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINES_MAX = 40
LOG = "ts,model,input_tokens,output_tokens\n2026-01-01T00:00:00Z,gpt-4o,1000,10\n"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_needs_only_what_is_promised_to_stay(path: Path) -> None:
    imported = set(re.findall(r"^(?:from|import) (tidings[\w.]*)", path.read_text(), re.MULTILINE))
    assert imported <= {"tidings.authoring", "tidings.testing", "tidings.agents.pydantic_agents"}


def test_there_are_no_other_examples() -> None:
    """Each has its test, here, beside, or in journeys/test_asking_back.py."""
    assert [path.name for path in EXAMPLES] == [
        "asking_agent.py",
        "own_agent.py",
        "own_client.py",
        "own_tool.py",
        "pydantic_agent.py",
        "served_by_hand.py",
        "tested_agent.py",
        "tool_server.py",
        "workflow.py",
    ]


def test_an_agent_of_ones_own_answers_and_looks_at_the_data(tmp_path: Path) -> None:
    log = tmp_path / "usage.csv"
    log.write_text(LOG)

    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        file_id = await ana.upload(log)
        async with ana.connected() as client:
            accepted = await client.ask("hi", "m1", agent="greeter", files=[file_id])
            events = await client.until_end(accepted["run_id"])
            check_story(events)
            assert events[-1]["payload"]["answer"].startswith("Hello! ")
            [called] = [e["payload"] for e in events if e["type"] == "tool_executing"]
            assert called["tool"] == "describe_data"

    with serving(tmp_path / "data", ROOT / "examples" / "own_agent.py") as server:
        asyncio.run(scenario())


def test_a_tool_of_ones_own_can_be_called_by_agents(tmp_path: Path) -> None:
    program = ROOT / "tests" / "harness" / "programs" / "with_own_tool.py"

    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            accepted = await client.ask("hi", "m1", agent="counts_energy")
            events = await client.until_end(accepted["run_id"])
            [done] = [e["payload"] for e in events if e["type"] == "tool_completed"]
            assert (done["tool"], done["ok"]) == ("energy_of", True)
            [fact] = done["result"]["facts"]
            assert (fact["value"], fact["label"]) == (0.6, "Energy in Wh")
            assert events[-1]["payload"]["answer"] == "0.6"

    with serving(tmp_path / "data", program) as server:
        asyncio.run(scenario())


def test_the_example_of_a_tool_serves_as_it_stands(tmp_path: Path) -> None:
    """The analyst may use the tool; the question is answered all the same."""

    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            accepted = await client.ask("What does it cost?", "m1")
            events = await client.until_end(accepted["run_id"])
            assert events[-1]["type"] == "agent_completed"

    with serving(tmp_path / "data", ROOT / "examples" / "own_tool.py") as server:
        asyncio.run(scenario())


def test_an_agent_of_pydantic_ai_is_served_as_a_plugin_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            accepted = await client.ask("How many bolts?", "m1", agent="warehouse")
            events = await client.until_end(accepted["run_id"])
            [done] = [e["payload"] for e in events if e["type"] == "tool_completed"]
            assert (done["tool"], done["ok"], done["result"]["content"]) == ("stock", True, "7")
            end = events[-1]["payload"]
            assert end["output"] == {"part": "a", "count": 0}
            assert end["answer"].startswith("```json")

    with serving(tmp_path / "served", ROOT / "examples" / "pydantic_agent.py") as server:
        asyncio.run(scenario())
    server = ServerProcess(tmp_path / "plugged")
    server.extra = {"TIDINGS_PLUGINS": "examples.pydantic_agent:register"}
    server.start()
    try:
        asyncio.run(scenario())
    finally:
        server.stop()


def test_an_agent_that_was_served_by_hand_is_served_with_all_the_rest(tmp_path: Path) -> None:
    async def by_hand() -> str:
        transport = httpx2.ASGITransport(app=served_by_hand.by_hand)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.post("/ask", params={"question": "Where?"})
            return str(answer.json())

    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            accepted = await client.ask("Where are bolts?", "m1", agent="clerk")
            events = await client.until_end(accepted["run_id"])
            assert events[1]["type"] == "agent_started"
            assert events[-1]["payload"]["answer"] == await by_hand()

    with serving(tmp_path / "data", ROOT / "examples" / "served_by_hand.py") as server:
        asyncio.run(scenario())


def test_a_workflow_nests_its_agents_and_waits_for_a_person(tmp_path: Path) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        async with ana.connected() as client:
            accepted = await client.ask("The lift is broken", "m1", agent="letter")
            asked = await client.until(lambda frame: frame["type"] == "input_required")
            assert "It is fine. May it go?" in asked["payload"]["question"]
            answer = {"run_id": accepted["run_id"], "request_id": "q1", "value": True}
            await client.send({"type": "answer", "id": "a1", "payload": answer})
            events = await client.until_end(accepted["run_id"])
        end = events[-1]["payload"]
        assert end["answer"] == "Dear all, the lift is out of order."
        assert end["output"] == {"goes": True}
        subs = [(e["type"], e["agent"]) for e in events if e["type"].startswith("subagent")]
        pair = ("subagent_started", "subagent_completed")
        assert subs == [(type_, name) for name in ("writer", "checker") for type_ in pair]

    with serving(tmp_path / "data", ROOT / "examples" / "workflow.py") as server:
        asyncio.run(scenario())


def test_the_tools_of_a_server_of_ones_own_are_offered_and_called(tmp_path: Path) -> None:
    program = ToolServer(command=(sys.executable, str(ROOT / "examples" / "tool_server.py")))

    async def scenario() -> None:
        async with bench(tmp_path, {"board": program}) as at_work:
            await at_work.offers("board.book")
            assert (await at_work.call("board.seats", room="blue")).content == '{"result":16}'
            booked = await at_work.call("board.book", room="blue", day="Monday")
            assert "blue is booked for Monday." in booked.content

    asyncio.run(scenario())


def test_a_plugin_that_is_not_there_is_refused_in_a_line(tmp_path: Path) -> None:
    ran = tidings("serve", "--data-dir", tmp_path, TIDINGS_PLUGINS="no_such_plugin")
    assert ran.status == 1
    assert "no_such_plugin" in ran.err
    assert "Traceback" not in ran.err
