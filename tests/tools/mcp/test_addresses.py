"""Tool servers over HTTP, good and hostile, on real sockets: the guard holds for all of them."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.receiver import receiving
from tests.fakes.tool_address import EVENTS, JSON, tool_address
from tests.tools.mcp.bench import bench
from tidings.domain.errors import InvalidInput
from tidings.tools.mcp import server as servers
from tidings.tools.mcp.configuration import ToolServer


@pytest.fixture(autouse=True)
def _quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "RESTART_SECONDS", (0.05, 0.2))


@pytest.mark.parametrize("kind", [JSON, EVENTS])
def test_a_tool_at_an_address_is_called_with_the_headers_that_are_named(
    tmp_path: Path, kind: str
) -> None:
    async def scenario() -> None:
        async with tool_address(kind) as there:
            settings = ToolServer(url=there.url, headers={"Authorization": "TICKETS_KEY"})
            async with bench(
                tmp_path,
                {"tickets": settings},
                environment={"TICKETS_KEY": "Bearer 1"},
                allowed=[there.host],
            ) as at_work:
                await at_work.offers("tickets.echo")
                result = await at_work.call("tickets.echo", text="hello")
                assert result.content.startswith("hello")
            assert {headers["authorization"] for headers in there.headers} == {"Bearer 1"}
            assert {headers["host"] for headers in there.headers} == {there.host}
            assert {headers["accept-encoding"] for headers in there.headers} == {"identity"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (JSON, "fails", "tool_error"),
        (JSON, "huge", "tool_result_too_large"),
        (JSON, "dies", "tool_server_lost"),
        (JSON, "nonsense", "tool_server_fault"),
        (JSON, "asks", "url_blocked"),
        (EVENTS, "fails", "tool_error"),
        (EVENTS, "huge", "tool_server_lost"),
        (EVENTS, "dies", "tool_server_lost"),
        (EVENTS, "nonsense", "tool_server_lost"),
    ],
)
def test_what_a_hostile_address_does_is_a_typed_outcome_and_the_next_call_works(
    tmp_path: Path, kind: str, name: str, code: str
) -> None:
    """Errors of a tool, 50 MB, half an answer, no JSON, a compressed answer."""

    async def scenario() -> None:
        async with tool_address(kind) as there:
            settings = ToolServer(url=there.url, call_seconds=10)
            async with bench(tmp_path, {"there": settings}, allowed=[there.host]) as at_work:
                await at_work.offers("there.echo")
                assert (await at_work.refused(f"there.{name}")).code == code
                assert (await at_work.up("there.echo", text="again")).content.startswith("again")
            assert there.methods.count("tools/call") == 2

    asyncio.run(scenario())


def test_an_address_that_never_answers_is_left_at_the_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with tool_address() as there:
            settings = ToolServer(url=there.url, call_seconds=1.5)
            async with bench(tmp_path, {"there": settings}, allowed=[there.host]) as at_work:
                await at_work.offers("there.echo")
                with pytest.raises(TimeoutError):
                    await at_work.call("there.silent")
                assert (await at_work.up("there.echo", text="next")).content.startswith("next")

    asyncio.run(scenario())


def test_no_redirect_is_followed_not_even_to_the_same_host(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as canary, tool_address() as there:
            settings = ToolServer(url=there.url)
            allowed = [there.host, canary.host]
            async with bench(tmp_path, {"there": settings}, allowed=allowed) as at_work:
                await at_work.offers("there.echo")
                for target in (canary.url, f"{there.url}/elsewhere"):
                    there.redirect = target
                    error = await at_work.refused("there.echo", text="x")
                    assert error.code == "url_blocked"
            assert canary.connections == 0
            assert there.methods.count("tools/call") == 2

    asyncio.run(scenario())


def test_an_address_inside_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with tool_address() as there:
            for url in (there.url, "https://169.254.169.254/", "https://[::ffff:127.0.0.1]/"):
                with pytest.raises(InvalidInput) as refused:
                    async with bench(tmp_path, {"there": ToolServer(url=url)}):
                        pass
                assert refused.value.code == "url_blocked"
            assert there.methods == []

    asyncio.run(scenario())


def test_a_name_that_leads_inside_is_not_called(tmp_path: Path) -> None:
    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def scenario() -> None:
        settings = ToolServer(url="https://mcp.example/")
        async with bench(tmp_path, {"there": settings}, resolve=inside) as at_work:
            (found,) = await at_work.servers.findings()
            assert "not a public one" in found.fault

    asyncio.run(scenario())


def test_the_address_that_was_checked_is_the_one_that_is_called(tmp_path: Path) -> None:
    """DNS rebinding: every request looks the name up once, and calls what that gave."""

    async def scenario() -> None:
        async with tool_address() as there:
            asked: list[str] = []

            async def resolve(host: str, port: int) -> list[str]:
                asked.append(host)
                return ["127.0.0.1"]

            name = f"mcp.example:{there.host.rpartition(':')[2]}"
            settings = ToolServer(url=f"http://{name}/mcp")
            async with bench(
                tmp_path, {"there": settings}, allowed=[name], resolve=resolve
            ) as at_work:
                await at_work.offers("there.echo")
            assert set(asked) == {"mcp.example"}
            assert len(asked) == len(there.methods)
            assert {headers["host"] for headers in there.headers} == {name}

    asyncio.run(scenario())
