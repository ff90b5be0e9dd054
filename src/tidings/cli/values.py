"""A typed answer as people read it at a terminal: fields by name, like records as a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.cells import cell_len

DEPTH_MAX = 8
"""What lies deeper is shown as JSON."""

COLUMNS_MAX = 12
NAME_CELLS_MAX = 24
INDENT = "  "
GAP = "  "

_SPOKEN = {None: "—", True: "yes", False: "no"}


def is_typed(payload: Mapping[str, Any]) -> bool:
    """Tell whether an answer is nothing but the JSON of the run's output."""
    answer = payload["answer"]
    fenced = answer.startswith("```json\n") and answer.endswith("\n```")
    return fenced and "output" in payload


def lines_of(value: object, width: int, depth: int = 0) -> Iterator[str]:
    """Yield the lines of a JSON value; a table is at most `width` cells wide, or it is none."""
    if isinstance(value, (dict, list)) and not value:
        yield "(none)"
    elif isinstance(value, (dict, list)) and depth == DEPTH_MAX:
        yield _json(value)
    elif isinstance(value, dict):
        yield from _record(value, width, depth)
    elif isinstance(value, list):
        yield from _table(value, width) or _list(value, width, depth)
    else:
        yield from _spoken(value).split("\n")


def _record(fields: dict[str, Any], width: int, depth: int) -> Iterator[str]:
    names = {name: name.replace("_", " ") for name in fields}
    room = min(NAME_CELLS_MAX, max(map(cell_len, names.values())))
    for name, inner in fields.items():
        lines = list(lines_of(inner, width - len(INDENT), depth + 1))
        if len(lines) == 1 and _is_scalar(inner):
            yield f"{_filled(names[name], room)}{GAP}{lines[0]}"
        else:
            yield names[name]
            yield from (INDENT + line for line in lines)


def _list(items: list[Any], width: int, depth: int) -> Iterator[str]:
    for item in items:
        first, *others = lines_of(item, width - len(INDENT), depth + 1)
        yield f"- {first}"
        yield from (INDENT + line for line in others)


def _table(rows: list[Any], width: int) -> list[str]:
    """Return the lines of records without anything nested in them, if they find room; else none."""
    if not all(isinstance(row, dict) and all(map(_is_scalar, row.values())) for row in rows):
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not 0 < len(names) <= COLUMNS_MAX:
        return []
    cells = [[name.replace("_", " ") for name in names]]
    cells += [[_spoken(row.get(name)) for name in names] for row in rows]
    rooms = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    if sum(rooms) + len(GAP) * (len(rooms) - 1) > width or any("\n" in c for r in cells for c in r):
        return []
    right = [all(_is_figure(row.get(name)) for row in rows) for name in names]
    rule = ["─" * room for room in rooms]
    return [_line(line, rooms, right) for line in (cells[0], rule, *cells[1:])]


def _line(cells: Sequence[str], rooms: Sequence[int], right: Sequence[bool]) -> str:
    placed = (_filled(*each) for each in zip(cells, rooms, right, strict=True))
    return GAP.join(placed).rstrip()


def _filled(text: str, room: int, right: bool = False) -> str:  # noqa: FBT001, FBT002 - a side
    blank = " " * (room - cell_len(text))
    return blank + text if right else text + blank


def _spoken(value: object) -> str:
    if isinstance(value, str):
        return value or "(empty)"
    if value is None or isinstance(value, bool):
        return _SPOKEN[value]
    return _json(value)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _is_scalar(value: object) -> bool:
    return not isinstance(value, (dict, list))


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
