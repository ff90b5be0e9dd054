"""A typed answer at a terminal: fields by name, records as a table, nothing that steers it."""

import io
from typing import Any

import pytest
from rich.console import Console

from tests.harness.programs.typed import ADVICE
from tidings.cli.show import Show
from tidings.cli.values import DEPTH_MAX, lines_of
from tidings.domain.events import Event

SUMMARY = {"steps": 1, "tools": 0, "attempts": 1, "duration_ms": 5}


def shown(**payload: Any) -> str:
    """Return what is printed of a run's end."""
    to = io.StringIO()
    end = {"status": "completed", "summary": SUMMARY} | payload
    event = Event(
        type="agent_completed",
        event_id="e1",
        stream="thread:t1",
        epoch="x1",
        offset=1,
        timestamp="2026-01-01T00:00:00.000Z",
        payload=end,
    )
    Show(Console(file=to, width=60)).event(event)
    return to.getvalue()


def test_fields_are_shown_by_name_and_what_is_nested_beneath_them() -> None:
    value = {"unit_price": 0.12, "note": "", "tags": ["a", "b"], "by": {"who": None, "sure": True}}
    assert list(lines_of(value, 80)) == [
        "unit price  0.12",
        "note        (empty)",
        "tags",
        "  - a",
        "  - b",
        "by",
        "  who   —",
        "  sure  yes",
    ]


def test_records_are_a_table_where_there_is_room_and_else_one_by_one() -> None:
    rows = [{"name": "宽 bolt", "left": 7}, {"name": "nut", "left": 1250, "at": "B"}]
    assert list(lines_of(rows, 20)) == [
        "name     left  at",
        "───────  ────  ──",
        "宽 bolt     7  —",
        "nut      1250  B",
    ]
    narrow = list(lines_of(rows, 16))
    assert narrow == ["- name  宽 bolt", "  left  7", "- name  nut", "  left  1250", "  at    B"]


@pytest.mark.parametrize(
    ("value", "lines"),
    [(42, ["42"]), ([], ["(none)"]), ({}, ["(none)"]), ("a\nb", ["a", "b"]), (1e300, ["1e300"])],
)
def test_anything_has_its_lines(value: object, lines: list[str]) -> None:
    assert list(lines_of(value, 80)) == lines


def test_what_lies_deep_is_shown_as_json() -> None:
    value: Any = "end"
    for _ in range(100):
        value = [value]
    (line,) = lines_of(value, 80)
    assert line == "- " * DEPTH_MAX + "[" * (100 - DEPTH_MAX) + '"end"' + "]" * (100 - DEPTH_MAX)


def test_a_typed_answer_is_shown_so_and_an_answer_in_words_as_it_is() -> None:
    typed = shown(
        answer='```json\n{\n  "a_b": "\\u001b[31mred"\n}\n```', output={"a_b": "\x1b[31mred"}
    )
    assert typed.startswith("a b  [31mred\n")
    assert shown(answer="It is red.", output={"a": 1}).startswith("It is red.\n")
    assert shown(answer="```json\n1\n```").startswith("```json\n")


def test_hostile_values_are_text() -> None:
    assert "\x1b" not in shown(answer="```json\n{}\n```", output=ADVICE)
