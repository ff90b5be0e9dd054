"""The server's database is away: the page says so though it is connected, and goes on after."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import TIMEOUT_MS, opened
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess, add_users

AWAY = "The server cannot reach its database now."
BACK_MS = 40_000
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be lost."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server(database: PostgresServer, tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "data")
    server.extra = {"TIDINGS_DATABASE_URL": database.database()}
    server.start()
    try:
        asyncio.run(add_users(server, "ana"))
        yield server
    finally:
        server.stop()


async def ask(page: Page, text: str, runs: int) -> None:
    await page.fill("#question", text)
    await page.click("#ask")
    await expect(page.locator(".run > .head strong")).to_have_text(["Done"] * runs)


async def well(page: Page) -> None:
    """See that all is well again: what failed is tried again after seconds, and looked at then."""
    await expect(page.locator("#link")).to_have_text("live", timeout=BACK_MS)
    await expect(page.locator("#condition")).to_be_hidden(timeout=BACK_MS)


def test_the_page_says_that_the_database_is_away_and_goes_on_by_itself(
    server: ServerProcess, database: PostgresServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            link, condition = page.locator("#link"), page.locator("#condition")
            await page.fill("[name=username]", "ana")
            await page.fill("[name=password]", "the password of ana")
            await page.click("#login button")
            await ask(page, "Before.", 1)
            await expect(condition).to_be_hidden()
            database.kill()
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await expect(link).to_have_text("database away")
            await expect(condition).to_contain_text(AWAY)
            await expect(page.locator(".answer")).to_have_count(1)
            database.start()
            await well(page)
            await ask(page, "Between.", 2)
            database.kill()
            await page.reload()
            await expect(link).to_have_text("database away")
            await expect(condition).to_contain_text(AWAY)
            await page.screenshot(path=tmp_path / "away.png")
            database.start()
            await well(page)
            await expect(page.locator(".answer")).to_have_count(2)
            await ask(page, "After.", 3)

    asyncio.run(scenario())
