"""A report tells the same truth in Markdown, HTML and JSON, and is harmless in all of them."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tests.fakes.ports import ManualClock
from tests.reports.samples import BRIEF, CHART, DRAFT, FACTS, RESULTS
from tests.stores import store_in
from tidings.domain.context import UserContext
from tidings.domain.errors import NotFound
from tidings.domain.facts import Fact, Unit
from tidings.reports.charts import clean_svg, draw, harmless
from tidings.reports.html import to_html
from tidings.reports.markdown import to_markdown
from tidings.reports.report import Report, compose, to_json
from tidings.reports.service import Reports
from tidings.storage.warm.port import Store

T = TypeVar("T")

ALICE = UserContext("t1", "alice", "s1")
BOB = UserContext("t1", "bob", "s2")
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>[a](javascript:alert(1))'
REPORT = compose(BRIEF, FACTS, RESULTS)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_every_figure_of_the_page_leads_to_its_provenance() -> None:
    page = Page(to_html(REPORT, {}))
    ids = {attributes.get("id") for _, attributes in page.tags}
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]

    assert "#fact-c2.total_usd" in links
    assert [link for link in links if link.removeprefix("#") not in ids] == []


def test_the_json_lists_every_fact_shown_with_its_provenance() -> None:
    facts = {entry["id"]: entry for entry in json.loads(to_json(REPORT))["facts"]}

    assert set(facts["c2.total_usd"]) >= {
        "value",
        "unit",
        "label",
        "tool",
        "call_id",
        "source",
        "rows",
    }
    assert facts["c2.r1.cost_usd"]["value"] == 391.06
    assert facts["c2.total_usd"]["formatted"] == "$1,234.56"


def test_the_markdown_says_where_the_figures_come_from() -> None:
    text = to_markdown(REPORT)

    assert "| $1,234.56 | Total spend | spend_by (c2) | 10,000 | c2.total_usd |" in text
    assert "select feature, sum(cost_usd)" in text
    assert "in-house-7b" in text


def test_next_actions_are_taken_from_the_text() -> None:
    assert len(REPORT.next_actions) == 3
    assert REPORT.next_actions[0].startswith("Move classify_ticket to the smaller model")


def test_a_title_with_an_invented_figure_gives_way_to_the_question() -> None:
    brief = msgspec.structs.replace(BRIEF, title="You save 90 %")

    assert compose(brief, FACTS, RESULTS).title == BRIEF.question


def hostile() -> Report:
    facts = FACTS | {
        f"c2.{EVIL}": Fact(f"c2.{EVIL}", EVIL, Unit.NAME, EVIL, EVIL, "c2", EVIL, 1),
        "c5.x": Fact("c5.x", EVIL, Unit.NAME, EVIL, EVIL, "c5", EVIL, 1),
    }
    brief = msgspec.structs.replace(
        BRIEF,
        question=EVIL,
        title=EVIL,
        model=EVIL,
        template=f"{DRAFT}\n{EVIL}\n\ue0000\ue001 \ue0020\ue003\n\n"
        f"```{{{{fact:c5.x}}}}\n{EVIL}\n```\n"
        "{{fact:c5.x}} <https://evil.example> [r]\n\n[r]: https://evil.example",
    )
    noted = msgspec.structs.replace(RESULTS["c2"], notes=(EVIL,))
    return compose(brief, facts, RESULTS | {"c2": noted})


def test_a_hostile_report_is_a_harmless_page() -> None:
    page = Page(to_html(hostile(), {}))

    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "img", "iframe", "object", "link", "base", "form", "svg"}
    )
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in {"style", "src"} for name in attributes), (
            tag
        )
        assert str(attributes.get("href") or "#").startswith("#")


def test_the_page_forbids_scripts_and_requests() -> None:
    text = to_html(REPORT, {})

    assert "default-src 'none'; style-src 'sha256-" in text
    assert not re.search(r"(?:src|href)=\"(?!#)", text)


def test_charts_are_drawn_in_a_child_and_embedded() -> None:
    refused = {**CHART, "data": {"url": "https://evil.example/x.json"}}
    broken = {**CHART, "mark": "no such mark"}

    drawn = asyncio.run(draw([CHART, refused, broken]))

    assert drawn[0] is not None
    assert drawn[1:] == [None, None]
    assert "&lt;script&gt;" in drawn[0]
    assert f"{drawn[0]}</div>" in to_html(REPORT, {"c4": drawn[0]})
    assert "could not be drawn" in to_html(REPORT, {})


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"values": [], "url": "x"}},
        {"data": {"values": [{}] * 5001}},
        {"encoding": {"url": {"field": "feature"}}},
        {
            "transform": [
                {"calculate": "1", "as": "x"},
                {"lookup": "a", "from": {"data": {"url": "x"}}},
            ]
        },
        {"params": [{"name": "p", "expr": "1"}]},
    ],
)
def test_a_chart_that_names_a_resource_or_code_or_too_much_is_refused(
    change: dict[str, object],
) -> None:
    assert harmless({**CHART, **change}) is None


def test_a_drawing_keeps_shapes_and_loses_everything_else() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" onload="x()"><script>x()</script>'
        '<a href="x"><g/></a>'
        '<foreignObject/><rect fill="url(https://evil)" width="1" style="x"/><style>*{}</style>'
        "<text>a &lt; b</text></svg>"
    )

    assert clean_svg(svg) == '<svg><rect width="1" /><text>a &lt; b</text></svg>'
    assert clean_svg('<!DOCTYPE x [<!ENTITY a "b">]><svg/>') is None
    assert clean_svg("not a drawing") is None


def with_store(path: Path, scenario: Callable[[Store], Awaitable[T]]) -> T:
    async def whole() -> T:
        database = store_in(path)
        try:
            await Reports(database, ManualClock()).save(ALICE, REPORT)
            return await scenario(database)
        finally:
            await database.close()

    return asyncio.run(whole())


def test_a_report_comes_back_as_it_was_kept_and_the_first_one_counts(tmp_path: Path) -> None:
    async def scenario(database: Store) -> Report:
        reports = Reports(database, ManualClock())
        await reports.save(ALICE, msgspec.structs.replace(REPORT, title="another"))
        return await reports.get(ALICE, "rep_1")

    assert with_store(tmp_path, scenario) == REPORT


def test_a_foreign_report_and_an_unknown_one_are_the_same_answer(tmp_path: Path) -> None:
    async def scenario(database: Store) -> set[str]:
        answers = set()
        for context, report_id in ((BOB, "rep_1"), (ALICE, "rep_2")):
            with pytest.raises(NotFound) as refused:
                await Reports(database, ManualClock()).document(context, report_id, "md")
            answers.add(refused.value.message)
        return answers

    assert len(with_store(tmp_path, scenario)) == 1


def test_a_report_is_served_in_every_format(tmp_path: Path) -> None:
    async def scenario(database: Store) -> None:
        reports = Reports(database, ManualClock())
        page = await reports.document(ALICE, "rep_1", "html")
        text = await reports.document(ALICE, "rep_1", "md")
        data = await reports.document(ALICE, "rep_1", "json")
        assert b"<svg" in page.body
        assert (text.filename, text.content_type) == ("rep_1.md", "text/markdown; charset=utf-8")
        assert json.loads(data.body)["report_id"] == "rep_1"

    with_store(tmp_path, scenario)
