"""How names and text are written in SQL, and a statement with its parameters."""

import re
from dataclasses import dataclass, field
from typing import Any

_PLACE = re.compile(r"\$(\w+)")


def text_literal(text: str) -> str:
    """Return the text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return the name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL written by us, with `$name` where a value of somebody else's stands."""

    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it with the values in place, so that it can be read and run again."""
        return _PLACE.sub(lambda place: _literal(self.parameters[place[1]]), self.sql)


def _literal(value: Any) -> str:
    return text_literal(value) if isinstance(value, str) else str(value)
