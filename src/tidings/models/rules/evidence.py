"""What a run has found so far, looked up by tool, scalar and row."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tidings.domain.facts import NO_VALUE, Value, cell_id
from tidings.models.tasks import Called

_FACT = re.compile(r"\{\{fact:([^}]+)\}\}")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a result's table."""

    call_id: str
    number: int
    cells: dict[str, Value]

    def ref(self, column: str) -> str:
        """Return the placeholder of the fact in this cell."""
        return f"{{{{fact:{self.fact(column)}}}}}"

    def fact(self, column: str) -> str:
        """Return the id of the fact in this cell."""
        return cell_id(self.call_id, self.number, column)

    def named(self, column: str) -> bool:
        """Return whether the cell holds a name."""
        return self.cells.get(column) not in {None, "", NO_VALUE}

    def amount(self, column: str) -> float:
        """Return the cell as a number, 0 when it has none."""
        return _amount(self.cells.get(column))


@dataclass(frozen=True, slots=True)
class Found:
    """A successful call, with its scalars and rows."""

    call: Called
    scalars: dict[str, Value]
    rows: tuple[Row, ...]

    @property
    def id(self) -> str:
        return self.call.call_id

    @property
    def truncated(self) -> bool:
        """Return whether the table had more rows than these."""
        result = self.call.result
        return result is not None and result.table is not None and result.table.truncated

    def has(self, name: str) -> bool:
        """Return whether the scalar is there and known."""
        return self.scalars.get(name) is not None

    def ref(self, name: str) -> str:
        """Return the placeholder of a scalar fact."""
        return f"{{{{fact:{self.id}.{name}}}}}"

    def amount(self, name: str) -> float:
        """Return a scalar as a number, 0 when it has none."""
        return _amount(self.scalars.get(name))


class Evidence:
    """The successful calls of a run, in order."""

    def __init__(self, calls: tuple[Called, ...]) -> None:
        self._found = tuple(_found(call) for call in calls if call.result is not None)
        self._known = {key for found in self._found for key in _valued(found)}

    def holds(self, text: str) -> bool:
        """Return whether every fact that a text names has a value."""
        return all(key in self._known for key in _FACT.findall(text))

    def all(self, tool: str, **arguments: Any) -> tuple[Found, ...]:
        """Return the calls of a tool that had these arguments."""
        return tuple(
            found
            for found in self._found
            if found.call.tool == tool
            and all(found.call.arguments.get(name) == value for name, value in arguments.items())
        )

    def one(self, tool: str, **arguments: Any) -> Found | None:
        """Return the first such call, None when there was none."""
        return next(iter(self.all(tool, **arguments)), None)


def _found(call: Called) -> Found:
    if call.result is None:
        return Found(call, {}, ())
    prefix = f"{call.call_id}."
    scalars = {fact.id.removeprefix(prefix): fact.value for fact in call.result.facts}
    table = call.result.table
    rows: tuple[Row, ...] = ()
    if table is not None:
        names = [column.name for column in table.columns]
        rows = tuple(
            Row(call.call_id, number, dict(zip(names, cells, strict=True)))
            for number, cells in enumerate(table.rows)
        )
    return Found(call, scalars, rows)


def _valued(found: Found) -> Iterator[str]:
    """Yield the ids of the facts that have a value."""
    for name, value in found.scalars.items():
        if value is not None:
            yield f"{found.id}.{name}"
    for row in found.rows:
        for column, value in row.cells.items():
            if value is not None:
                yield row.fact(column)


def _amount(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
