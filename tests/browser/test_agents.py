"""Several agents: one is chosen, and the conversation goes on with it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.opened import DESKTOP, PHONE, TIMEOUT_MS, opened
from tests.harness.server import ROOT, ServerProcess, add_users, serving

NAME = "ana"
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("agents")
    with serving(folder, ROOT / "examples" / "own_agent.py") as process:
        asyncio.run(add_users(process, NAME))
        yield process


async def ask(page: Page, question: str, runs: int) -> None:
    await page.fill("#question", question)
    await page.click("#ask")
    await expect(page.locator(".run > .head strong")).to_have_text(["Done"] * runs)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_agent_is_chosen_and_the_conversation_goes_on_with_it(
    server: ServerProcess, size: tuple[int, int], tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server, size) as page:
            await page.fill("[name=username]", NAME)
            await page.fill("[name=password]", f"the password of {NAME}")
            await page.click("#login button")
            chosen, does = page.locator("#agent"), page.locator("#agent-does")
            await expect(chosen.locator("option")).to_have_text(["analysis", "greeter"])
            await expect(chosen).to_have_value("analysis")
            await expect(page.locator("#welcome")).to_contain_text("Upload a usage log")
            await chosen.select_option("greeter")
            await expect(does).to_have_text("Greets.")
            await expect(page.locator("#welcome")).to_have_text("Greets.")
            await page.screenshot(path=tmp_path / "chosen.png")
            await ask(page, f"Good day on {size}.", 1)
            await expect(page.locator(".answer")).to_have_text("Hello!")
            await page.reload()
            await expect(chosen).to_have_value("greeter")
            await ask(page, "And again.", 2)
            await expect(page.locator(".answer").last).to_have_text("Hello!")
            await check_other_conversations(page, f"Good day on {size}.")
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size[0]
            await page.screenshot(path=tmp_path / "asked.png")

    asyncio.run(scenario())


async def check_other_conversations(page: Page, title: str) -> None:
    """A new one begins with whom is shown; an earlier one brings its own."""
    await page.click("#fresh")
    chosen = page.locator("#agent")
    await expect(chosen).to_have_value("greeter")
    await chosen.select_option("analysis")
    await page.click("#show-earlier")
    await page.click(f"#conversations button:has-text('{title}')")
    await expect(chosen).to_have_value("greeter")


def test_where_there_is_one_agent_nothing_is_to_be_chosen(tmp_path: Path) -> None:
    async def scenario() -> None:
        with serving(tmp_path / "data") as process:
            await add_users(process, NAME)
            async with opened(process) as page:
                async with page.expect_response("**/api/agents"):
                    await page.fill("[name=username]", NAME)
                    await page.fill("[name=password]", f"the password of {NAME}")
                    await page.click("#login button")
                await expect(page.locator("#agent option")).to_have_count(1)
                await expect(page.locator("#whom")).to_be_hidden()

    asyncio.run(scenario())
