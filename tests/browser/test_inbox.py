"""The inbox in a real browser: it counts live, lists, and leads to the conversation."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import PHONE, TIMEOUT_MS, opened
from tests.harness.programs import impatient
from tests.harness.server import ServerProcess, User, add_users, serving

NAME = "ana"
HOSTILE = "<img src=x onerror=window.__canary=1> is my question"
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data", Path(impatient.__file__)) as process:
        yield process


async def sign_in(page: Page) -> None:
    await page.fill("[name=username]", NAME)
    await page.fill("[name=password]", f"the password of {NAME}")
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")


async def ask_from_elsewhere(user: User, text: str) -> None:
    """Start a run that no device follows."""
    payload = {"user_request": text, "agent": "echo"}
    command = {"type": "start_agent", "id": f"c{len(text)}", "payload": payload}
    headers = {"authorization": f"Bearer {user.token}"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers) as client:
        answer = await client.post(f"{user.server.url}/api/commands", json=command)
        assert answer.is_success


def test_what_ended_elsewhere_is_counted_live_and_opened_by_a_click(server: ServerProcess) -> None:
    async def scenario() -> None:
        [user] = await add_users(server, NAME)
        async with opened(server, PHONE) as page:
            await sign_in(page)
            await expect(page.locator("#unread")).to_be_hidden()
            await page.click("#bell")
            await expect(page.locator("#nothing")).to_be_visible()
            await ask_from_elsewhere(user, HOSTILE)
            await expect(page.locator("#unread")).to_have_text("1")
            await ask_from_elsewhere(user, "Another question")
            await expect(page.locator("#unread")).to_have_text("2")
            await expect(page.locator("#items li")).to_have_count(2)
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            await page.click(f"#items button:has-text('{HOSTILE}')")
            await expect(page.locator(".said")).to_have_text(HOSTILE)
            await expect(page.locator(".answer")).to_contain_text("You said")
            await expect(page.locator("#inbox")).to_be_hidden()
            await expect(page.locator("#unread")).to_have_text("1")
            assert await page.evaluate("typeof window.__canary") == "undefined"
            await page.reload()
            await expect(page.locator("#unread")).to_have_text("1")
            await page.click("text=Sign out")
            await expect(page.locator("#items li")).to_have_count(0)

    asyncio.run(scenario())


def test_what_the_page_has_shown_is_not_in_the_inbox(server: ServerProcess) -> None:
    async def scenario() -> None:
        [user] = await add_users(server, NAME)
        async with opened(server) as page:
            await sign_in(page)
            await page.fill("#question", "I am watching")
            await page.click("#ask")
            await expect(page.locator(".run > .head strong")).to_have_text("Done")
            await ask_from_elsewhere(user, "I am not watching")
            await expect(page.locator("#unread")).to_have_text("1")
            await page.click("#bell")
            await expect(page.locator("#items li")).to_have_count(1)
            await expect(page.locator("#items li")).to_contain_text("I am not watching")

    asyncio.run(scenario())


def test_earlier_conversations_are_listed_and_shown_again(server: ServerProcess) -> None:
    async def scenario() -> None:
        await add_users(server, NAME, "bob")
        async with opened(server, PHONE) as page:
            await sign_in(page)
            await page.click("#show-earlier")
            await expect(page.locator("#none-earlier")).to_have_text("There is none yet.")
            await page.keyboard.press("Escape")
            await expect(page.locator("#earlier")).to_be_hidden()
            await expect(page.locator("#show-earlier")).to_be_focused()
            for text in (HOSTILE, "Another question"):
                await page.click("#fresh")
                await page.fill("#question", text)
                await page.click("#ask")
                await expect(page.locator(".run > .head strong")).to_have_text("Done")
            await page.click("#fresh")
            await page.click("#show-earlier")
            found = page.locator("#conversations li span")
            await expect(found).to_have_text(["Another question", HOSTILE])
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            await found.last.click()
            await expect(page.locator(".said")).to_have_text(HOSTILE)
            await expect(page.locator("#earlier")).to_be_hidden()
            assert await page.evaluate("typeof window.__canary") == "undefined"
            await page.click("text=Sign out")
            await page.fill("[name=username]", "bob")
            await page.fill("[name=password]", "the password of bob")
            await page.click("#login button")
            await page.click("#show-earlier")
            await expect(page.locator("#none-earlier")).to_be_visible()
            await expect(page.locator("#conversations li")).to_have_count(0)

    asyncio.run(scenario())
