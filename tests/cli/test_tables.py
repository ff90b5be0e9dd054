"""Tables in a terminal: whatever its width, names can be told apart and figures are whole."""

import re

import pytest
from rich.console import Console

from tidings.cli.tables import ShownDocument

NAMES = ("ticket_classification", "ticket_clarification", "gpt-4o", "claude-sonnet-4-5")
FIGURES = ("14,409,638", "40,171", "7.7 %", "$0.000674")
TABLE = """
| feature | model | input tokens | output tokens | share of the cost | cost of a request |
| --- | --- | ---: | ---: | ---: | ---: |
| ticket_classification | gpt-4o | 14,409,638 | 40,171 | 7.7 % | $0.000674 |
| ticket_clarification | claude-sonnet-4-5 | 1 | 2 | 3 % | $4.00 |
"""


def shown(markdown: str, width: int) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(ShownDocument(markdown))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(lines)


@pytest.mark.parametrize("width", [30, 40, 60, 79, 80, 81, 90, 100, 160])
def test_no_name_is_cut_and_no_figure_broken(width: int) -> None:
    text = shown(TABLE, width)
    assert "…" not in text
    assert [figure for figure in FIGURES if figure not in text] == []
    for name in NAMES:
        assert all(piece in text for piece in re.findall(r"[^_-]+[_-]?", name)), name


def test_in_a_wide_terminal_each_row_is_a_line() -> None:
    lines = [line.split() for line in shown(TABLE, 160).splitlines()]
    assert ["ticket_classification", "gpt-4o", "14,409,638", "40,171", "7.7", "%", "$0.000674"] in (
        lines
    )


def test_in_a_narrower_one_a_name_goes_on_behind_a_joint() -> None:
    lines = [line.split() for line in shown(TABLE, 74).splitlines()]
    first = next(place for place, line in enumerate(lines) if line[:1] == ["ticket_"])
    assert lines[first + 1][0] == "classification"


def test_where_a_table_has_no_room_each_row_is_told_with_its_headings() -> None:
    lines = [line.rstrip() for line in shown(TABLE, 60).splitlines()]
    begin = lines.index("ticket_classification · gpt-4o")
    assert lines[begin + 1 : begin + 4] == [
        "  input tokens 14,409,638 · output tokens 40,171",
        "  share of the cost 7.7 % · cost of a request $0.000674",
        "ticket_clarification · claude-sonnet-4-5",
    ]


def test_a_table_of_names_alone_is_told_by_the_first() -> None:
    table = "| model | note |\n| --- | --- |\n| gpt-4o | antidisestablishment |\n"
    lines = [line.rstrip() for line in shown(table, 28).splitlines()]
    assert lines[-2:] == ["gpt-4o", "  note antidisestablishment"]
