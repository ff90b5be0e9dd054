"""The chat page: strict by its policy, and the same exactly-once rules as every client."""

import base64
import json
import re
import shutil
import subprocess
from importlib import resources

import pytest

from tests.gateway.world import World

PAGE = resources.files("tidings.gateway") / "page"
NODE = shutil.which("node")
SCRIPTS = sorted(file.name for file in PAGE.iterdir() if file.name.endswith(".js"))


def test_the_page_and_all_its_parts_are_served_with_a_policy_that_runs_only_them(
    world: World,
) -> None:
    page = world.ask("GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    parts = set(re.findall(r'(?:src|href)="(/[^"]+)"', page.body.decode()))
    for name in SCRIPTS:
        parts |= {"/" + part for part in re.findall(r'from "\./(.+?)"', (PAGE / name).read_text())}
    assert {f"/{name}" for name in SCRIPTS} | {"/page.css"} == parts
    assert all(world.ask("GET", part).status == 200 for part in parts)


def test_the_page_needs_nothing_from_elsewhere_and_has_no_script_of_its_own_within() -> None:
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"https?://|\son\w+=|style=|<script(?![^>]*src=)", html)


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_reaches_the_screen_as_text(name: str) -> None:
    source = (PAGE / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", source)
    assert "srcdoc" not in source or name == "page.js"


def node(script: str) -> object:
    if NODE is None:
        pytest.skip("node is not installed: the rules of the page are not run here")
    source = base64.b64encode((PAGE / "stream.js").read_bytes()).decode()
    module = f"data:text/javascript;base64,{source}"
    code = f"import * as rules from '{module}';\n{script}"
    ran = subprocess.run(
        [NODE, "--input-type=module", "-e", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_each_event_is_applied_once_in_order_and_a_gap_is_noticed() -> None:
    script = """
    const event = (offset, first) => ({
      epoch: "e1", offset, event_id: `e_${String(offset).padStart(26, "0")}`,
      ...(first && { first_offset: first }),
    });
    const reading = new rules.Reading("e1.4.00000004");
    const verdicts = [event(4), event(5), event(5), event(7), event(6), event(9, 7), event(8)]
      .map((one) => reading.take(one));
    console.log(JSON.stringify([verdicts, reading.cursor, reading.duplicates]));
    """
    assert node(script) == [
        ["drop", "apply", "drop", "gap", "apply", "apply", "drop"],
        "e1.9.00000009",
        3,
    ]


def test_the_page_comes_back_with_jitter_and_stays_away_when_told_to() -> None:
    script = """
    const latest = [0, 1, 2, 20].map((attempt) => rules.delay(attempt, () => 1));
    const then = [1006, 4100, 4109, 4201, 4401, 4403, 4429].map(rules.afterClose);
    console.log(JSON.stringify([latest, rules.delay(20, () => 0), then]));
    """
    assert node(script) == [
        [500, 1000, 2000, 30_000],
        0,
        ["resume", "resume", "resume", "renew", "renew", "stay", "stay"],
    ]
