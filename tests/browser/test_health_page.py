"""How the server is, in a real browser: administrators see it live, users what they notice."""

import asyncio
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.opened import PHONE, TIMEOUT_MS, opened
from tests.harness.programs import failing
from tests.harness.server import ServerProcess, User, add_users, serving
from tidings.app import build
from tidings.settings import load

NAMES = ("ana", "bob", "root")
RESTS = "Some answers come from a stand-in, or fail."
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data", Path(failing.__file__)) as process:
        yield process


async def appoint(server: ServerProcess, name: str, *, admin: bool) -> None:
    app = build(load({"data_dir": server.data_dir}))
    try:
        await app.identity.appoint(name, admin=admin)
    finally:
        await app.close()


async def sign_in(page: Page, name: str) -> None:
    await page.fill("[name=username]", name)
    await page.fill("[name=password]", f"the password of {name}")
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")


async def fail_for(users: list[User]) -> None:
    """Have runs of several users fail, and wait until each has."""
    for number in range(6):
        user = users[number % len(users)]
        async with user.connected() as client:
            accepted = await client.ask("Fail.", f"c{number}", agent="fails")
            await client.until_end(accepted["run_id"])


def test_an_administrator_sees_live_what_is_not_well_and_a_user_what_they_notice(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        ana, bob, _ = await add_users(server, *NAMES)
        await appoint(server, "root", admin=True)
        async with opened(server, PHONE) as page:
            await sign_in(page, "root")
            await expect(page.locator("#condition")).to_be_hidden()
            await expect(page.locator("#health")).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            await page.click("#health")
            await expect(page.locator("#state")).to_have_text("All is well")
            await expect(page.locator(".card h3")).to_contain_text(
                ["Data", "Runs", "Models", "Agents", "Tools", "Parts", "This process", "Checks"]
            )
            await fail_for([ana, bob])
            await expect(page.locator("#state")).to_have_text("Degraded")
            await expect(page.locator("#concerns li")).to_contain_text(["fails (6 of 6 failed)"])
            await expect(page.locator("tr", has_text="6 of 6 failed, for 2 users")).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            await page.click("nav a")
            await expect(page.locator("#condition")).to_have_text(RESTS)
            await appoint(server, "root", admin=False)
            await page.goto(f"{server.url}/health")
            await expect(page.locator("#aside")).to_contain_text("for administrators")
            await expect(page.locator(".card")).to_have_count(0)

    asyncio.run(scenario())


def test_the_nodes_of_a_fleet_are_listed_with_who_is_gone(server: ServerProcess) -> None:
    """What one server says of itself, with the nodes of a fleet put in."""

    async def with_nodes(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        now = body["looked_at"]
        body["sections"]["nodes"] = [
            node("gateway", "up", now - 3, is_this=True, connections=7),
            node("worker", "up", now - 4, room=16, running=2, concerns=[{"code": "loop_late"}]),
            node("worker", "gone", now - 300, room=16),
        ]
        await route.fulfill(response=answer, json=body)

    async def scenario() -> None:
        await add_users(server, "root")
        await appoint(server, "root", admin=True)
        async with opened(server, PHONE) as page:
            await sign_in(page, "root")
            await page.route("**/api/health", with_nodes)
            await page.goto(f"{server.url}/health")
            rows = page.locator(".card", has_text="Nodes").locator("tr")
            await expect(rows).to_have_text(
                [
                    "gateway:1gateway, this one · heard 3 s ago · 7 connections",
                    "worker:1worker · heard 4 s ago · 2 of 16 runs · loop late",
                    "worker:1worker · gone, heard 5 min ago",
                ]
            )
            marks = [await rows.nth(n).locator("th").get_attribute("class") for n in range(3)]
            assert marks == ["mark ok", "mark degraded", "mark down"]
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]

    asyncio.run(scenario())


def node(role: str, state: str, heard_at: float, **rest: Any) -> dict[str, Any]:
    told = {"role": role, "name": f"{role}:1", "state": state, "heard_at": heard_at}
    plain = {"is_this": False, "version": version("tidings"), "concerns": [], "connections": 0}
    return told | plain | {"room": 0, "running": 0} | rest


def test_a_user_has_no_way_to_the_inside(server: ServerProcess) -> None:
    async def scenario() -> None:
        users = await add_users(server, *NAMES)
        await fail_for(users[:2])
        async with opened(server) as page:
            await sign_in(page, "ana")
            await expect(page.locator("#condition")).to_have_text(RESTS)
            await expect(page.locator("#health")).to_be_hidden()
            shown = await page.inner_text("body")
            assert not re.search(r"\d failed|agents_resting", shown), "how often is for operators"
            await page.click("text=Sign out")
            await expect(page.locator("#condition")).to_be_hidden()
            await page.goto(f"{server.url}/health")
            await expect(page.locator("#aside")).to_have_text(
                "Sign in with the conversations first."
            )

    asyncio.run(scenario())


def test_the_page_dims_what_it_knows_when_the_server_is_gone(server: ServerProcess) -> None:
    async def scenario() -> None:
        await add_users(server, "root")
        await appoint(server, "root", admin=True)
        async with opened(server, dark=True) as page:
            await sign_in(page, "root")
            await page.goto(f"{server.url}/health")
            await expect(page.locator("#state")).to_have_text("All is well")
            server.kill()
            await expect(page.locator("#aside")).to_have_text("The server cannot be reached.")
            await expect(page.locator("body.stale .card").first).to_be_visible()

    asyncio.run(scenario())
