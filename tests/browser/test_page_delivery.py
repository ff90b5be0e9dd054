"""The chat page when delivery has to begin anew: restarts, and a log that cannot go on."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import TIMEOUT_MS, cut_log, opened
from tests.harness.programs import historian
from tests.harness.server import ServerProcess, add_users, serving
from tests.stores import change, rows_of

NAME, PASSWORD = "ana", "the password of ana"
QUESTION = "What did we spend?"
KEPT = "What was said is below. Earlier steps are in the history."
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data") as process:
        asyncio.run(add_users(process, NAME))
        yield process


async def sign_in_and_ask(page: Page) -> None:
    await page.fill("[name=username]", NAME)
    await page.fill("[name=password]", PASSWORD)
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")
    await ask(page)


async def ask(page: Page, runs: int = 1) -> None:
    await page.fill("#question", QUESTION)
    await page.click("#ask")
    await done(page, runs)


async def done(page: Page, runs: int) -> None:
    await expect(page.locator(".run > .head strong")).to_have_text(["Done"] * runs)


def test_a_question_that_is_asked_offline_outlives_a_reload_and_is_asked_once(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in_and_ask(page)
            await page.route("**/api/ws-ticket", lambda route: route.abort())
            server.stop()
            server.start()
            await page.fill("#question", "And what is dear?")
            await page.click("#ask")
            await page.reload()
            await expect(page.locator("#question")).to_have_value("And what is dear?")
            await expect(page.locator("#ask")).to_be_disabled()
            await page.unroute("**/api/ws-ticket")
            await done(page, 2)
            await expect(page.locator("#question")).to_have_value("")
            await page.reload()
            await done(page, 2)

    asyncio.run(scenario())


def test_a_restart_is_announced_and_the_page_goes_on(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in_and_ask(page)
            await page.evaluate(
                """() => {
                    window.__states = [];
                    const link = document.getElementById("link");
                    new MutationObserver(() => window.__states.push(link.textContent))
                        .observe(link, { childList: true, characterData: true, subtree: true });
                }"""
            )
            await asyncio.to_thread(server.stop)
            server.start()
            await expect(page.locator("#link")).to_have_text("live")
            assert "server restarts" in await page.evaluate("window.__states")
            await ask(page, 2)

    asyncio.run(scenario())


def test_after_its_log_was_cut_a_reload_shows_what_was_said(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in_and_ask(page)
            answer = await page.locator(".answer").inner_text()
            cut_log(server)
            await page.reload()
            await expect(page.locator("#log .notice").first).to_have_text(KEPT)
            await expect(page.locator(".said")).to_have_text([QUESTION])
            await done(page, 1)
            assert await page.locator(".answer").inner_text() == answer
            await ask(page, 2)
            await expect(page.locator(".said")).to_have_count(2)
            await page.click(".past button")  # nothing has been brought to the history yet
            await expect(page.locator(".past")).to_have_text(
                re.compile(r"^\d+ earlier steps are no longer kept; what was said is\.$")
            )
            await expect(page.locator(".said")).to_have_count(2)

    asyncio.run(scenario())


def test_what_the_log_has_let_go_of_is_shown_from_the_history(tmp_path: Path) -> None:
    async def scenario(server: ServerProcess) -> None:
        await add_users(server, NAME)
        async with opened(server) as page:
            await sign_in_and_ask(page)
            await ask(page, 2)
            told = await page.locator("#log").inner_text()
            steps = await page.locator(".steps p").count()
            assert steps > 4
            while unexported(server):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            cut_log(server)
            await page.reload()
            await expect(page.locator("#log .notice").first).to_have_text(KEPT)
            await expect(page.locator(".said")).to_have_count(2)
            await expect(page.locator(".steps p")).to_have_count(0)
            await page.click(".past button")
            await expect(page.locator(".past")).to_have_count(0)
            await expect(page.locator(".steps p")).to_have_count(steps)
            await ask(page, 3)
            assert (await page.locator("#log").inner_text()).startswith(told)

    with serving(tmp_path / "data", Path(historian.__file__)) as process:
        asyncio.run(scenario(process))


def unexported(server: ServerProcess) -> int:
    """Return how many runs the history has yet to get."""
    ((count,),) = rows_of(server.data_dir, "select count(*) from runs where exported_at is null")
    return int(count)


def test_a_page_that_has_seen_what_the_store_has_not_begins_from_the_snapshot(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in_and_ask(page)
            server.stop()
            change(
                server.data_dir,
                "update events set event_id = 'e_another0' where type = 'agent_completed'",
            )
            server.start()
            await expect(page.locator("#log .notice").first).to_have_text(KEPT)
            await done(page, 1)
            await ask(page, 2)

    asyncio.run(scenario())


def test_the_same_tab_twice_does_not_fight_over_its_connection(server: ServerProcess) -> None:
    """A copy of a tab has its storage, too: it is another device all the same."""

    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in_and_ask(page)
            stored = await page.evaluate("Object.entries(sessionStorage)")
            assert page.context.browser is not None
            copy = await page.context.browser.new_page()
            await copy.goto(server.url)
            await copy.evaluate(
                "kept => { for (const [name, value] of kept) sessionStorage.setItem(name, value) }",
                stored,
            )
            await copy.goto(f"{server.url}/?copy")
            await done(copy, 1)
            await ask(copy, 2)
            await done(page, 2)
            await expect(page.locator("#link")).to_have_text("live")

    asyncio.run(scenario())
