"""An answer that is a value: shown for people, as text, and copied as it is."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import PHONE, TIMEOUT_MS, cut_log, opened
from tests.harness.programs.hostile import HOSTILE
from tests.harness.programs.typed import ADVICE, LARGE, ROWS
from tests.harness.server import ROOT, ServerProcess, add_users, serving

ACTIVE = ".answer :is(img, svg, iframe, script, style, link, form, input, h1, h2, h3, a)"
ROWS_SHOWN = 100
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("typed")
    with serving(folder, ROOT / "tests/harness/programs/typed.py") as process:
        asyncio.run(add_users(process, "ana"))
        yield process


async def advised(page: Page) -> None:
    await page.fill("[name=username]", "ana")
    await page.fill("[name=password]", "the password of ana")
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")
    await page.fill("#question", "What is to be ordered?")
    await page.click("#ask")
    await expect(page.locator(".run > .head strong")).to_have_text("Done")


async def check_shown(page: Page) -> None:
    """Fields by name, records as a table, what is nested folded, and all of it text."""
    fields = page.locator(".values > dl")
    await expect(fields.locator("> dt")).to_have_text([name.replace("_", " ") for name in ADVICE])
    said = fields.locator("> dd")
    for place, text in enumerate((HOSTILE[0], "0.12", "yes", "—", str(LARGE))):
        await expect(said.nth(place)).to_have_text(text)
    await expect(said.nth(5).locator("li")).to_have_text(ADVICE["tags"])
    cells = said.nth(6).locator("th, td")
    await expect(cells).to_have_text(["store", "left", "Berlin", "12", HOSTILE[2], "—"])
    await expect(said.nth(8)).to_contain_text("```\n# no heading\n[no link](javascript:1)")
    await expect(said.nth(8).locator("dt", has_text="proto")).to_have_text("  proto  ")
    await expect(page.locator(ACTIVE)).to_have_count(0)
    assert await page.evaluate("typeof window.__canary") == "undefined"


def test_a_value_is_shown_as_fields_and_tables_live_after_a_reload_and_from_a_snapshot(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await advised(page)
            await check_shown(page)
            live = await page.locator(".answer").inner_text()
            await page.reload()
            await check_shown(page)
            assert await page.locator(".answer").inner_text() == live
            width, height = PHONE
            await page.set_viewport_size({"width": width, "height": height})
            await page.screenshot(path=tmp_path / "phone.png", full_page=True)
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            cut_log(server)
            await page.reload()
            await expect(page.locator(".past")).to_be_visible()
            await check_shown(page)

    asyncio.run(scenario())


def test_what_is_nested_opens_by_keyboard_and_the_json_is_copied_as_it_was_written(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            await advised(page)
            inner = page.locator(".values > dl > dd").nth(7).locator("details details")
            await expect(inner).to_have_count(2)
            await expect(inner.locator("dl, table")).to_have_count(0)
            await inner.nth(0).locator("summary").focus()
            await page.keyboard.press("Enter")
            await expect(inner.nth(0).locator("> dl > dt")).to_have_text("size")
            await inner.last.locator("summary").click()
            await expect(inner.last.locator("tr")).to_have_count(1 + ROWS_SHOWN)
            more = f"{ROWS - ROWS_SHOWN} more are in the JSON."
            await expect(inner.last.locator(".notice")).to_have_text(more)
            await page.click(".original summary")
            await page.click(".original button")
            await expect(page.locator(".original [role=status]")).to_have_text("Copied.")
            copied = await page.evaluate("navigator.clipboard.readText()")
            assert json.loads(copied) == ADVICE

    asyncio.run(scenario())
