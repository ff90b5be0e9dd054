"""Tool servers over stdio, good and hostile: real processes, every end is a typed outcome."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.harness.programs.tool_server import TAGS
from tests.tools.mcp.bench import PROGRAM, Bench, bench, notes, program
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.tools.mcp import server as servers
from tidings.tools.mcp import stdio
from tidings.tools.mcp.configuration import ToolRule, ToolServer
from tidings.tools.port import ToolContext, tool

Scenario = Callable[[Bench], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "RESTART_SECONDS", (0.05, 0.2))


def served(path: Path, scenario: Scenario, settings: ToolServer | None = None) -> None:
    """Play a scenario with the test's program; nothing of it is left afterwards."""
    environment = {"NOTES": str(path / "notes"), "SECRET": "not to be passed on"}

    async def whole() -> None:
        async with bench(path, {"test": settings or program()}, environment=environment) as at_work:
            await at_work.offers("test.echo")
            await scenario(at_work)

    asyncio.run(whole())
    assert [pid for pid in pids(path) if alive(pid)] == []


def pids(path: Path) -> list[int]:
    return [int(line.split()[1]) for line in notes(path) if line.startswith("pid ")]


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def calls(path: Path) -> list[str]:
    return [line.removeprefix("called ") for line in notes(path) if line.startswith("called ")]


def test_a_tool_of_a_program_is_called_with_what_its_schema_allows(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        result = await at_work.call("test.echo", text="hello")
        assert result.content == "hello\n[image that cannot be shown]"
        assert (result.facts, result.table) == ((), None)
        structured = await at_work.call("test.structure")
        assert structured.content == '{"degrees":21.5}'

    served(tmp_path, scenario)
    assert calls(tmp_path) == ["echo", "structure"]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("echo", {}, "'text' is a required property"),
        ("echo", {"text": 7}, "text: 7 is not of type 'string'"),
        ("repeat", {"times": 0}, "times: 0 is less than the minimum of 1"),
        ("repeat", {"times": 1, "more": 1}, "'more' was unexpected"),
    ],
)
def test_wrong_arguments_never_reach_the_server(
    tmp_path: Path, name: str, arguments: dict[str, Any], told: str
) -> None:
    async def scenario(at_work: Bench) -> None:
        with pytest.raises(InvalidInput) as refused:
            at_work.catalogue.check(f"test.{name}", arguments)
        assert refused.value.code == "invalid_arguments"
        assert told in refused.value.message

    served(tmp_path, scenario)
    assert calls(tmp_path) == []


def test_a_program_gets_the_variables_that_are_named_and_no_others(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        await at_work.call("test.structure")

    served(tmp_path, scenario)
    (first, *_) = notes(tmp_path)
    assert set(first.split()[2:]) <= {"NOTES", "LC_CTYPE"}


@pytest.mark.parametrize(
    ("name", "code", "survives"),
    [
        ("fails", "tool_error", True),
        ("huge", "tool_result_too_large", False),
        ("dies", "tool_server_lost", False),
        ("nonsense", "tool_server_fault", False),
    ],
)
def test_what_a_hostile_tool_does_is_a_typed_outcome_and_the_server_is_there_again(
    tmp_path: Path, name: str, code: str, survives: bool
) -> None:
    async def scenario(at_work: Bench) -> None:
        refusal = await at_work.refused(f"test.{name}")
        assert refusal.code == code
        assert TAGS not in refusal.message
        assert (await at_work.up("test.echo", text="again")).content.startswith("again")

    served(tmp_path, scenario)
    assert len(pids(tmp_path)) == (1 if survives else 2)
    assert calls(tmp_path).count(name) == 1


def test_a_tool_that_never_answers_is_left_at_its_deadline(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        with pytest.raises(TimeoutError):
            await at_work.call("test.silent")
        assert (await at_work.call("test.echo", text="next")).content.startswith("next")

    served(tmp_path, scenario, program(call_seconds=1.5))
    assert len(pids(tmp_path)) == 1


def test_a_large_answer_is_cut_and_says_so(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        result = await at_work.call("test.large")
        assert len(result.content) == 100_000
        assert result.notes == ("The answer was cut after 100,000 characters.",)

    served(tmp_path, scenario)


def test_a_server_that_asks_for_models_questions_or_folders_is_refused(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        assert (await at_work.call("test.asks")).content == "done"
        while len([n for n in notes(tmp_path) if n.startswith("refused")]) < 3:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)

    served(tmp_path, scenario)
    assert [line for line in notes(tmp_path) if line.startswith(("refused", "answered"))] == [
        "refused Sampling not supported",
        "refused Elicitation not supported",
        "refused List roots not supported",
    ]


def test_tools_that_are_not_fit_are_not_offered(tmp_path: Path) -> None:
    """Listed twice, with a name, a description or a schema that cannot be used."""

    async def scenario(at_work: Bench) -> None:
        names = {tool.name for tool in at_work.catalogue}
        assert {"twice", "no name at all", "long", "odd", "hidden"} & {
            n[5:] for n in names
        } == set()

    served(tmp_path, scenario)


def test_a_server_cannot_take_the_place_of_a_tool_that_is_there(tmp_path: Path) -> None:
    @tool(name="test.structure", effect=Effect.READ)
    async def ours(ctx: ToolContext) -> ToolResult:
        """Ours."""
        return ToolResult("ours")

    async def scenario() -> None:
        environment = {"NOTES": str(tmp_path / "notes")}
        async with bench(tmp_path, {"test": program()}, [ours], environment=environment) as at_work:
            await at_work.offers("test.echo")
            assert (await at_work.call("test.structure")).summary == "ours"

    asyncio.run(scenario())


def test_a_program_that_does_not_end_with_its_input_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "STOP_SECONDS", 0.3)
    (tmp_path / "notes.stays").touch()

    async def scenario(at_work: Bench) -> None:
        await at_work.call("test.structure")

    served(tmp_path, scenario)


def test_calls_to_a_server_that_is_down_fail_at_once_and_it_is_begun_again(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        await at_work.call("test.structure")
        (first,) = pids(tmp_path)
        os.kill(first, signal.SIGKILL)
        await at_work.up("test.structure")
        assert pids(tmp_path)[0] == first
        assert len(pids(tmp_path)) == 2

    served(tmp_path, scenario)


def test_how_a_server_is_can_be_asked_at_any_time(tmp_path: Path) -> None:
    async def scenario(at_work: Bench) -> None:
        await at_work.call("test.echo", text="hello")
        await at_work.refused("test.fails")
        (health,) = at_work.servers.health()
        assert (health.name, health.state, health.fault) == ("test", "up", "")
        assert health.outcomes == {"ok": 1, "tool_error": 1}
        assert (health.restarts, health.under_way, health.waiting, health.changed) == (0, 0, 0, ())
        assert "echo" in health.tools
        assert health.slowest_seconds is not None
        assert 0 < (health.median_seconds or 0) <= health.slowest_seconds
        await at_work.refused("test.dies")
        (down,) = at_work.servers.health()
        assert down.state == "down"
        await at_work.up("test.structure")
        (again,) = at_work.servers.health()
        assert (again.state, again.restarts) == ("up", 1)
        assert again.outcomes["tool_server_lost"] == 1

    served(tmp_path, scenario)


def test_a_program_that_cannot_be_started_hangs_nothing(tmp_path: Path) -> None:
    missing = ToolServer(command=("/no/such/program",))

    async def scenario() -> None:
        async with bench(tmp_path, {"test": missing}) as at_work:
            (found,) = await at_work.servers.findings()
            assert found.fault.startswith("FileNotFoundError")

    asyncio.run(scenario())


def test_what_a_tool_does_is_what_the_operator_says_and_a_change_by_default(
    tmp_path: Path,
) -> None:
    async def scenario(at_work: Bench) -> None:
        effects = {tool.name: tool.effect for tool in at_work.catalogue}
        assert effects["test.echo"] is Effect.READ
        assert effects["test.repeat"] is Effect.WRITE
        assert not at_work.catalogue.trusted("test.echo")

    served(tmp_path, scenario, program(tools={"echo": ToolRule(Effect.READ)}))


def test_a_server_that_the_library_makes_works_too(tmp_path: Path) -> None:
    modern = ToolServer(command=(sys.executable, str(PROGRAM.with_name("modern_tools.py"))))

    async def scenario() -> None:
        async with bench(tmp_path, {"modern": modern}) as at_work:
            await at_work.offers("modern.add")
            assert (await at_work.call("modern.add", left=2, right=3)).content == '{"result":5}'
            assert (await at_work.refused("modern.divide", left=1, right=0)).code == "tool_error"

    asyncio.run(scenario())
