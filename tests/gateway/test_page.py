"""The chat page: strict by its policy, and all its parts are there."""

import posixpath
import re

import pytest

from tests.gateway.world import World
from tests.harness.server import ROOT

PAGE = ROOT / "src" / "tidings" / "gateway" / "page"
PAGES = {"/", "/health"}
SCRIPTS = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.js"))


def test_the_pages_and_all_their_parts_are_served_with_a_policy_that_runs_only_them(
    world: World,
) -> None:
    parts = set()
    for address in PAGES:
        page = world.ask("GET", address)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "require-trusted-types-for 'script'" in policy
        parts |= set(re.findall(r'(?:src|href)="(/[^"]+)"', page.body.decode()))
    for name in SCRIPTS:
        imported = re.findall(r'from "(\./.+?)"', (PAGE / name).read_text())
        parts |= {posixpath.normpath(f"/{name}/../{part}") for part in imported}
    assert {f"/{name}" for name in SCRIPTS} | {"/page.css", "/health.css"} == parts - PAGES
    assert all(world.ask("GET", part).status == 200 for part in parts)


@pytest.mark.parametrize("name", ["index.html", "health.html"])
def test_a_page_needs_nothing_from_elsewhere_and_has_no_script_of_its_own_within(name: str) -> None:
    html = (PAGE / name).read_text()
    assert not re.search(r"https?://|\son\w+=|style=|<script(?![^>]*src=)", html)


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_reaches_the_screen_as_text(name: str) -> None:
    source = (PAGE / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", source)
    assert "srcdoc" not in source or name == "report.js"
