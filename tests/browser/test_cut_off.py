"""Text that was cut off is kept on the page, and marked, also after a reload."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import TIMEOUT_MS, cut_log, opened
from tests.harness.server import ROOT, ServerProcess, add_users, serving

WHY = "The model has gone; another one answers."
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("cut")
    with serving(folder, ROOT / "tests/harness/programs/cut_off.py") as process:
        asyncio.run(add_users(process, "ana"))
        yield process


async def ask(page: Page, text: str) -> None:
    await page.fill("[name=username]", "ana")
    await page.fill("[name=password]", "the password of ana")
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")
    await page.fill("#question", text)
    await page.click("#ask")


def test_a_run_that_failed_shows_what_there_was_as_incomplete(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await ask(page, "Begin.")
            await expect(page.locator(".run > .head strong")).to_have_text("Failed")
            await expect(page.locator(".answer")).to_contain_text("The answer beg")
            await expect(page.locator(".answer .cut")).to_contain_text("incomplete")
            await page.reload()
            await expect(page.locator(".answer")).to_contain_text("The answer beg")
            await expect(page.locator(".answer .cut")).to_contain_text("incomplete")

    asyncio.run(scenario())


def test_text_in_whose_place_another_came_is_kept_and_marked(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await ask(page, "Begin, and go on.")
            await expect(page.locator(".run > .head strong")).to_have_text("Done, with limits")
            await expect(page.locator(".answer")).to_have_text("All is well.")
            await expect(page.locator("details.cut summary")).to_contain_text("incomplete")
            await expect(page.locator("details.cut")).to_contain_text("The answer beg")

    asyncio.run(scenario())


def test_what_an_answer_had_to_do_without_stands_beside_its_end(server: ServerProcess) -> None:
    """Also after a reload, and where the log no longer has the notice."""

    async def scenario() -> None:
        async with opened(server) as page:
            await ask(page, "Begin, and go on.")
            reason = page.locator(".end .notice")
            await expect(reason).to_have_text(WHY)
            await page.reload()
            await expect(reason).to_have_text(WHY)
            cut_log(server)
            await page.reload()
            await expect(page.locator(".past")).to_be_visible()
            await expect(reason).to_have_text(WHY)

    asyncio.run(scenario())
