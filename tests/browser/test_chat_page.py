"""The chat page in a real browser: a person signs in, uploads, asks, watches and reads."""

import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Request, expect

from tests.browser.opened import PHONE, TIMEOUT_MS, opened
from tests.harness.programs.hostile import HOSTILE
from tests.harness.programs.hostile import NAME as HOSTILE_NAME
from tests.harness.server import ROOT, ServerProcess, add_users, serving
from tidings.analysis.workload import generate, write_csv
from tidings.domain.commands import TEXT_CHARACTERS_MAX

NAME, PASSWORD = "ana", "the password of ana"
QUESTION = "Where does our money go, and how do we cut it?"
PAPER_IN_THE_DARK = "rgb(22, 23, 26)"
ACTIVE = "#log :is(img, svg, iframe, script, style, link, form, input, object, embed)"
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data", ROOT / "tests/harness/programs/hostile.py") as process:
        asyncio.run(add_users(process, NAME))
        yield process


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "usage.csv"
    with path.open("w", newline="") as file:
        write_csv(generate(random.Random(3), 2_000), file)
    return path


async def try_to_sign_in(page: Page, password: str) -> None:
    await page.fill("[name=username]", NAME)
    await page.fill("[name=password]", password)
    await page.click("#login button")


async def sign_in(page: Page) -> None:
    await try_to_sign_in(page, PASSWORD)
    await expect(page.locator("#link")).to_have_text("live")


async def upload(page: Page, path: Path) -> None:
    await page.set_input_files("#upload", path)
    await expect(page.locator("#files li").last).to_contain_text(path.name)
    await expect(page.locator("#files li").last).not_to_contain_text("…")


async def ask(page: Page, text: str) -> None:
    await page.fill("#question", text)
    await page.click("#ask")


async def done(page: Page, runs: int = 1) -> None:
    await expect(page.locator(".run > .head strong")).to_have_text(["Done"] * runs)


def test_a_person_signs_in_uploads_asks_watches_and_reads(server: ServerProcess, log: Path) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await try_to_sign_in(page, "not the password")
            wrong = "The name or the password is wrong."
            await expect(page.locator("#login-error")).to_have_text(wrong)
            await sign_in(page)
            await upload(page, log)
            await ask(page, QUESTION)
            await expect(page.locator(".said")).to_have_text(QUESTION)
            await check_answer(page)
            await check_report(page)
            shown = await page.locator("#log").inner_text()
            await page.reload()
            await check_answer(page)
            assert await page.locator("#log").inner_text() == shown

    asyncio.run(scenario())


async def check_answer(page: Page) -> None:
    """Agents and tools are nested, opened on demand; the answer stands beneath."""
    await done(page)
    await page.click(".steps > summary")
    for agent in ("triage", "analyst", "reporter"):
        nested = page.locator(".agent > .agent > p:first-child", has_text=agent)
        await expect(nested).to_be_visible()
    tools = page.locator(".agent .agent .tool")
    assert await tools.count() > 5
    await expect(page.locator(".tool.busy")).to_have_count(0)
    await tools.first.locator("summary").click()
    await expect(tools.first.locator("pre").first).to_be_visible()
    figures = re.compile(r"\$[\d.,]+ went into 2,\d+ requests")
    await expect(page.locator(".answer")).to_contain_text(figures)
    await expect(page.locator(".answer td.figure").first).to_have_css("text-align", "right")


async def check_report(page: Page) -> None:
    await page.click("text=Open the report")
    report = page.frame_locator("#report-frame")
    await expect(report.locator("h1")).to_have_text(QUESTION)
    await expect(report.locator("svg").first).to_be_visible()
    await expect(page.locator("#report-wait")).to_be_hidden()
    await page.click("#close-report")


def test_a_run_is_watched_through_a_kill_of_the_server(server: ServerProcess, log: Path) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in(page)
            await upload(page, log)
            await ask(page, QUESTION)
            await expect(page.locator(".tool").first).to_be_attached()
            server.kill()
            await expect(page.locator("#link")).not_to_have_text("live")
            server.start()
            await expect(page.locator("#link")).to_have_text("live")
            await done(page)
            await expect(page.locator(".said")).to_have_count(1)
            watched = await page.locator(".steps").text_content()
            await page.reload()
            await done(page)
            assert await page.locator(".steps").text_content() == watched

    asyncio.run(scenario())


def test_hostile_text_is_shown_and_does_nothing(server: ServerProcess, tmp_path: Path) -> None:
    """Names of files, columns, features and models, and all that a model can say."""
    elsewhere: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((server.url, "data:", "blob:", "about:")):
            elsewhere.append(request.url)

    async def scenario() -> None:
        path = tmp_path / HOSTILE_NAME
        path.write_text(hostile_log())
        async with opened(server) as page:
            page.context.on("request", note)
            await sign_in(page)
            await upload(page, path)
            await ask(page, f"What did we spend? {HOSTILE[1]}")
            await done(page)
            await page.click("text=Open the report")
            report = page.frame_locator("#report-frame")
            await expect(report.locator("h1")).to_contain_text("onerror")
            await page.click("#close-report")
            await ask(page, f"be hostile {HOSTILE[0]}")
            await done(page, 2)
            await check_harmless(page)
            await page.reload()
            await done(page, 2)
            await check_harmless(page)

    asyncio.run(scenario())
    assert elsewhere == []


async def check_harmless(page: Page) -> None:
    """Everything is on the screen as text, and nothing of it has run."""
    for answer in await page.locator(".answer").all():
        await expect(answer).to_contain_text("<script>window.__canary=1</script>")
    await expect(page.locator(".said").last).to_contain_text("<script>")
    await expect(page.locator(ACTIVE)).to_have_count(0)
    names_of_data = page.locator(".answer").first
    await expect(names_of_data.locator("a")).to_have_count(0)
    for link in await page.locator("#log a").all():
        assert (await link.get_attribute("href") or "").startswith(("http:", "https:"))
    assert await page.evaluate("typeof window.__canary") == "undefined"


def hostile_log() -> str:
    """Return a log whose names are hostile: of models, features and a column."""

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""').replace("\0", "").replace("\n", " ") + '"'

    lines = [f"ts,model,feature,input_tokens,output_tokens,{quoted(HOSTILE[2])}"]
    for second, (model, feature) in enumerate(
        (model, feature) for model in ("gpt-4o", HOSTILE[0], HOSTILE[6]) for feature in HOSTILE
    ):
        row = (quoted(model), quoted(feature), "1000", "10", quoted(HOSTILE[3]))
        lines.append(f"2026-01-01T00:00:{second:02d}Z,{','.join(row)}")
    return "\n".join([*lines, ""])


def test_a_name_of_a_file_keeps_to_its_place_and_a_trouble_passes(
    server: ServerProcess, tmp_path: Path, log: Path
) -> None:
    """A name that turns the direction of writing turns nothing but itself; a long one is cut."""
    turned, long = (tmp_path / name for name in ("\u202efdp.csv", f"{'x' * 200}.csv"))
    note = tmp_path / "notes.md"
    note.write_text("# Notes\n")
    for path in (turned, long):
        path.write_bytes(log.read_bytes())

    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in(page)
            await page.set_input_files("#upload", note)
            await expect(page.locator("#trouble")).to_contain_text("notes.md")
            for path in (turned, long):
                await upload(page, path)
                await expect(page.locator("#trouble")).to_have_text("")
                entry = page.locator("#files li").last
                name = await entry.locator("bdi").bounding_box()
                button = await entry.locator("button").bounding_box()
                assert name
                assert button
                assert name["x"] + name["width"] <= button["x"]
                assert name["width"] < 400
                assert name["height"] < 30
                await expect(entry.locator("bdi")).to_have_attribute("title", path.name)

    asyncio.run(scenario())


def test_a_question_that_is_too_long_is_kept_whole_and_not_sent(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in(page)
            text = "é" * (TEXT_CHARACTERS_MAX + 1)
            await ask(page, text)
            said = "This has 20,001 characters; 20,000 is the most. Long data go into a file."
            await expect(page.locator("#trouble")).to_have_text(said)
            await expect(page.locator("#question")).to_have_value(text)
            await ask(page, text[1:])
            await done(page)
            await expect(page.locator("#trouble")).to_be_empty()
            await expect(page.locator(".said")).to_have_text([text[1:]])

    asyncio.run(scenario())


def test_a_reload_while_the_server_is_away_does_not_look_like_a_new_conversation(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        async with opened(server) as page:
            await sign_in(page)
            await expect(page.locator("#welcome")).to_be_visible()
            await ask(page, QUESTION)
            await done(page)
            await page.route("**/api/ws-ticket", lambda route: route.abort())
            await page.reload()
            await expect(page.locator("#link")).to_have_text("offline")
            await expect(page.locator("#welcome")).to_be_hidden()
            await page.click("#fresh")
            await expect(page.locator("#welcome")).to_be_visible()

    asyncio.run(scenario())


def test_the_page_fits_a_phone_in_the_dark(server: ServerProcess, log: Path) -> None:
    async def scenario() -> None:
        async with opened(server, PHONE, dark=True) as page:
            await sign_in(page)
            await upload(page, log)
            await ask(page, QUESTION)
            await done(page)
            await expect(page.locator(".answer > p").first).to_be_in_viewport()
            await expect(page.locator("#link")).to_be_in_viewport()
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            await expect(page.locator("body")).to_have_css("background-color", PAPER_IN_THE_DARK)

    asyncio.run(scenario())
