"""Placeholders become values; nothing that was not computed is ever shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.reports.samples import DRAFT, FACTS, QUESTION, RESULTS, fact
from tidings.domain.facts import Unit, Value
from tidings.reports.render import DraftStream, render
from tidings.reports.values import MAX_NAME_CHARS, write


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1234.56, Unit.USD, "$1,234.56"),
        (0.0042, Unit.USD, "$0.0042"),
        (-5, Unit.USD, "-$5.00"),
        (2.5, Unit.USD_PER_MTOK, "$2.50 per M tokens"),
        (18_064_123, Unit.TOKENS, "18,064,123"),
        (812.44, Unit.TOKENS, "812.4"),
        (0.1834, Unit.RATIO, "18.3 %"),
        (0.0004, Unit.RATIO, "0.04 %"),
        (1, Unit.RATIO, "100 %"),
        (812, Unit.MS, "812 ms"),
        (12_400, Unit.MS, "12.4 s"),
        (42, Unit.TOKENS_PER_S, "42 tokens/s"),
        ("2023-11-16T19:17:46+01:00", Unit.TIME, "2023-11-16 18:17 UTC"),
        ("not a time", Unit.TIME, "not a time"),
        ("gpt-4o", Unit.NAME, "gpt-4o"),
        (None, Unit.USD, "n/a"),
        (float("nan"), Unit.USD, "n/a"),
        (10**400, Unit.COUNT, "1.000e+400"),
    ],
)
def test_a_value_is_written_by_its_unit(value: Value, unit: Unit, expected: str) -> None:
    assert write(value, unit) == expected


def test_facts_tables_and_charts_are_placed() -> None:
    rendered = render(DRAFT, FACTS, RESULTS)

    assert rendered.findings == ()
    assert "You spent **$1,234.56** on 10,000 requests" in rendered.text
    assert "| classify_ticket | 6,120 | $812.50 | 65.8 % |" in rendered.text
    assert "*Chart: Cost by feature*" in rendered.text
    assert rendered.used[0] == "c2.total_usd"
    assert (rendered.tables, rendered.charts) == (("c2",), ("c4",))


def test_an_unknown_placeholder_is_shown_as_such_and_found() -> None:
    rendered = render(
        "{{fact:c9.x}} {{table:c4}} {{chart:c2}} {{fact:c2.total_usd}", FACTS, RESULTS
    )

    assert rendered.text.startswith("[unknown figure] [unknown figure] [unknown figure]")
    assert [f.code for f in rendered.findings] == [
        "unknown_fact",
        "unknown_table",
        "unknown_chart",
        "malformed_placeholder",
    ]


@given(st.text(max_size=300) | st.text(alphabet="*_`#<>[]()|!\\&;{}:/.-+=~1a \n\u202e\u200b"))
def test_a_name_from_a_users_file_is_shown_as_it_is_and_bounded(name: str) -> None:
    rendered = render("{{fact:c1.x}}", {"c1.x": fact("c1.x", name, Unit.NAME)}, {}).text
    shown = write(name, Unit.NAME)

    assert len(shown) <= MAX_NAME_CHARS
    page = MarkdownIt("commonmark", {"html": True}).enable("table").parse(rendered)
    inline = [child for token in page for child in token.children or []]
    assert {token.type for token in inline} <= {"text", "text_special"}
    assert "".join(token.content for token in inline) == shown
    assert {token.type for token in page} <= {"paragraph_open", "inline", "paragraph_close"}


def test_a_placeholder_in_a_name_is_not_followed() -> None:
    facts = {
        "c1.x": fact("c1.x", "{{fact:c1.y}}", Unit.NAME),
        "c1.y": fact("c1.y", "secret", Unit.NAME),
    }

    assert "secret" not in render("{{fact:c1.x}}", facts, {}).text


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/?q)",
        "[a][b] <img src=x>\n\n[b]: https://evil.example",
        "\\`<img src=x>\\`",
        "[a]{{fact:c1.link}}",
        "<{{fact:c1.tag}}",
        "<https://evil.example>",
    ],
)
def test_links_images_and_tags_of_a_model_are_disarmed(text: str) -> None:
    facts = {
        "c1.link": fact("c1.link", "(https://evil.example)", Unit.NAME),
        "c1.tag": fact("c1.tag", "img src=x onerror=alert(1) >", Unit.NAME),
    }
    tokens = MarkdownIt("commonmark", {"html": True}).parse(render(text, facts, {}).text)

    kinds = {child.type for token in tokens for child in token.children or []}
    assert not kinds & {"link_open", "image", "html_inline"}


def test_what_a_model_shows_in_code_stays_as_it_is() -> None:
    assert render("Use `<column>` and `a[0](b)`.", {}, {}).text == "Use `<column>` and `a[0](b)`."


@given(st.integers(min_value=1, max_value=40))
def test_a_draft_comes_out_whole_however_it_is_cut(size: int) -> None:
    stream = DraftStream(QUESTION, FACTS, RESULTS)
    pieces = [stream.feed(DRAFT[at : at + size]) for at in range(0, len(DRAFT), size)]

    shown = "".join(pieces) + stream.close()

    assert shown == render(DRAFT, FACTS, RESULTS).text
    assert not stream.withheld


@pytest.mark.parametrize("bad", ["You save 50 %.", "You save {{fact:c9.x}}.", "It halved\u200b."])
def test_a_draft_stops_before_the_first_line_that_is_not_grounded(bad: str) -> None:
    stream = DraftStream(QUESTION, FACTS, RESULTS)

    shown = "".join(stream.feed(c) for c in f"Good.\n{bad}\nGood again.\n") + stream.close()

    assert shown == "Good.\n"
    assert stream.withheld


def test_half_a_line_is_not_shown() -> None:
    stream = DraftStream(QUESTION, FACTS, RESULTS)

    assert stream.feed("You spent {{fact:c2.total") == ""
    assert stream.feed("_usd}}.\n") == "You spent $1,234.56.\n"


def test_an_endless_line_is_withheld_and_not_kept() -> None:
    stream = DraftStream("", {}, {})

    assert "".join(stream.feed("a" * 1000) for _ in range(100)) + stream.close() == ""
    assert stream.withheld
