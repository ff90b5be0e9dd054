"""A run that asks: the page shows the question and the exact call, and carries the answers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import PHONE, TIMEOUT_MS, opened
from tests.harness.server import ROOT, ServerProcess, add_users, serving

NAME = "ana"
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose only user wants to be asked before anything is ordered."""
    with serving(tmp_path / "data", ROOT / "tests/harness/programs/asking.py") as process:
        (ana,) = asyncio.run(add_users(process, NAME))
        headers = {"Authorization": f"Bearer {ana.token}"}
        wish = {"permissions": {"order": "ask"}}
        httpx2.put(f"{process.url}/api/permissions", json=wish, headers=headers).raise_for_status()
        yield process


async def asked(page: Page, question: str = "A server, please.", waiting: str = "") -> None:
    await page.fill("[name=username]", NAME)
    await page.fill("[name=password]", f"the password of {NAME}")
    await page.click("#login button")
    await expect(page.locator("#link")).to_have_text("live")
    await page.fill("#question", question)
    await page.click("#ask")
    await expect(page.locator(".run > .head strong")).to_have_text(f"Waiting for you{waiting}")


@pytest.mark.parametrize(("button", "answer"), [("Allow", "is ordered"), ("Deny", "Not ordered")])
def test_a_question_and_a_call_wait_for_a_person_over_reload_and_restart(
    server: ServerProcess, button: str, answer: str
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await asked(page)
            await expect(page.locator(".asks p").first).to_have_text("Which size?")
            server.stop()
            server.start()
            await expect(page.locator("#link")).to_have_text("live")
            await page.click(".asks button:text('large')")
            await expect(page.locator(".asks.settled")).to_be_focused()
            leave = page.locator(".asks:not(.settled)")
            await expect(leave.locator("pre")).to_contain_text('"size": "large"')
            await page.reload()
            await expect(leave.locator("pre")).to_contain_text('"size": "large"')
            await expect(page.locator(".asks.settled")).to_contain_text('answered: "large"')
            await leave.locator(f"button:text('{button}')").click()
            await expect(page.locator(".run > .head strong")).to_have_text("Done")
            await expect(page.locator(".answer")).to_contain_text(answer)
            await expect(page.locator(".asks:not(.settled)")).to_have_count(0)

    asyncio.run(scenario())


def test_calls_that_ask_together_are_all_there_and_decided_in_any_order(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await asked(page, "I want both.", ": 2 questions")
            boxes = page.locator(".asks")
            await expect(boxes.nth(0).locator("pre")).to_contain_text('"size": "small"')
            await expect(boxes.nth(1).locator("pre")).to_contain_text('"size": "large"')
            await page.screenshot(path=tmp_path / "together.png")
            await boxes.nth(1).locator("button:text('Allow')").click()
            await expect(boxes.nth(1)).to_have_class("asks settled")
            await page.reload()
            await expect(page.locator(".run > .head strong")).to_have_text("Waiting for you")
            await page.locator(".asks:not(.settled) button:text('Deny')").click()
            await expect(page.locator(".run > .head strong")).to_have_text("Done")
            await expect(page.locator(".answer")).to_contain_text("no | A large server is ordered")

    asyncio.run(scenario())


def test_stop_stops_the_run_that_works_and_one_behind_it_can_be_taken_back(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            states = page.locator(".run > .head strong")
            await asked(page)
            for question in ("I want both.", "Please book."):
                await page.fill("#question", question)
                await page.click("#ask")
                await expect(page.locator("#question")).to_have_value("")
            await expect(states).to_have_text(["Waiting for you", "Waiting", "Waiting"])
            await page.reload()
            await expect(page.locator(".unask:visible")).to_have_count(2)
            await page.screenshot(path=tmp_path / "queued.png")
            await page.locator(".unask:visible").first.click()
            await expect(states).to_have_text(["Waiting for you", "Stopped", "Waiting"])
            await page.click("#stop")
            await expect(states).to_have_text(["Stopped", "Stopped", "Waiting for you"])
            await expect(page.locator(".unask:visible")).to_have_count(0)
            await page.click("#stop")
            await expect(states).to_have_text(["Stopped"] * 3)
            await expect(page.locator("#stop")).to_be_hidden()

    asyncio.run(scenario())


def test_an_answer_of_several_parts_is_a_form_and_what_does_not_fit_is_said(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server, PHONE) as page:
            await asked(page, "Please book.")
            form = page.locator(".asks")
            await page.screenshot(path=tmp_path / "form.png", full_page=True)
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            await form.get_by_label("city").fill("Berlin")
            await page.click(".asks button")
            await expect(form.locator(":focus")).to_have_attribute("type", "number")
            await form.get_by_label("nights").fill("2")
            await form.get_by_label("breakfast").select_option("No")
            await form.get_by_label("guests").fill("Ana\n\nBob\n")
            await form.get_by_label("floors").fill("the first")
            await page.click(".asks button")
            await expect(page.locator("#trouble")).to_contain_text("floors must be of type array")
            await form.get_by_label("floors").fill("")
            await form.get_by_label("city").press("Enter")
            said = "Booked: 2 nights in Berlin, {'breakfast': False, 'guests': ['Ana', 'Bob']}."
            await expect(page.locator(".answer")).to_have_text(said)
            await expect(page.locator("#trouble")).to_be_empty()
            await expect(page.locator(".asks.settled .values > dl > dd").first).to_have_text(
                "Berlin"
            )
            await page.reload()
            await expect(page.locator(".asks.settled .values > dl > dd").first).to_have_text(
                "Berlin"
            )
            await expect(page.locator(".asks :is(input, select, textarea)")).to_have_count(0)

    asyncio.run(scenario())
