"""The chat page, opened in Chromium."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

from tests.harness.server import ServerProcess
from tests.stores import change

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
TIMEOUT_MS = 20_000
CUT = (
    "delete from events where type not in ('message_received', 'agent_completed')"
    " and stream like 'thread:%'",
    "update streams set first_offset = head where stream like 'thread:%'",
)
"""What the log is after its retention."""
DESKTOP, PHONE = (1280, 900), (360, 740)


@asynccontextmanager
async def opened(
    server: ServerProcess, size: tuple[int, int] = DESKTOP, *, dark: bool = False
) -> AsyncIterator[Page]:
    """Open the page; whatever happens on it, its scripts do not fail."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium): no page can be opened")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        page.set_default_timeout(TIMEOUT_MS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(server.url)
        yield page
        await browser.close()
        assert faults == []


def cut_log(server: ServerProcess) -> None:
    """Let the server go on as after its log's retention: a page that is opened has its snapshot."""
    server.stop()
    change(server.data_dir, *CUT)
    server.start()
