"""A result that is larger than its event: the page fetches the whole of it, and saves it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import TIMEOUT_MS, opened
from tests.harness.programs.asking import SERVERS
from tests.harness.server import ROOT, ServerProcess, add_users, serving

expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data", ROOT / "tests/harness/programs/asking.py") as process:
        asyncio.run(add_users(process, "ana"))
        yield process


async def listed(page: Page) -> None:
    """Ask for a list that is longer than an event."""
    await page.fill("[name=username]", "ana")
    await page.fill("[name=password]", "the password of ana")
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")
    await page.fill("#question", "What is in stock?")
    await page.click("#ask")
    await expect(page.locator(".run > .head strong")).to_have_text("Done")
    await page.locator(".steps > summary").click()
    await page.locator(".tool > summary").click()


def test_the_whole_of_a_result_is_shown_as_text_and_saved(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await listed(page)
            button = page.locator(".whole button")
            await expect(button).to_have_text("Show all of it (15.3 KiB)")
            await page.screenshot(path=tmp_path / "before.png")
            await button.click()
            text = page.locator(".whole pre")
            await expect(text).to_contain_text("Server\tRack\nserver-0\t<b>rack 0</b>\n")
            last = SERVERS - 1
            await expect(text).to_contain_text(f"server-{last}\t<b>rack {last % 7}</b>")
            await expect(page.locator(".whole b")).to_have_count(0)
            await page.screenshot(path=tmp_path / "after.png")
            async with page.expect_download() as saving:
                await page.locator(".whole button:text('Save')").click()
            saved = await saving.value
            kept = (await saved.path()).read_text()
            assert saved.suggested_filename == "c1.txt"
            assert kept.count("server-") == SERVERS

    asyncio.run(scenario())


def test_a_result_that_cannot_be_had_now_says_so_and_can_be_asked_for_again(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await listed(page)
            await page.route("**/calls/*", lambda route: route.abort())
            await page.locator(".whole button").click()
            await expect(page.locator(".whole .bad")).to_contain_text("cannot be reached")
            await page.unroute("**/calls/*")
            await page.locator(".whole button").click()
            await expect(page.locator(".whole pre")).to_contain_text("server-0")

    asyncio.run(scenario())
