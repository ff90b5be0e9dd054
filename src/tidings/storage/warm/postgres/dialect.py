"""What PostgreSQL reads differently in our SQL, and how several statements are written as one."""

import re
from functools import lru_cache

TEXTS_CACHED = 4_096

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|\?")
_TYPE = re.compile(r"--[^\n]*|\b(?:integer|blob)\b")
_TYPES = {"integer": "bigint", "blob": "bytea"}
_VALUES = re.compile(r"\((?:\?, )*\?\)\Z")
_RECORDS = "array(select row(p{0}.*) from p{0})"
_TELLS = re.compile(r"\A(?:select|with)\b|\breturning\b")


@lru_cache(TEXTS_CACHED)
def numbered(sql: str) -> str:
    """Write `$1`, `$2`, .. for each `?` that is not inside quotes or a comment."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _TOKEN.sub(number, sql)


@lru_cache(TEXTS_CACHED)
def combined(statements: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    """Write several statements as one, with the values of all in order.

    Its only row has, for each statement that has rows, an array of them; the places of those come
    second. All see what was there before.
    """
    telling = tuple(place for place, sql in enumerate(statements) if _TELLS.search(sql))
    named = ", ".join(f"p{place} as ({sql})" for place, sql in enumerate(statements))
    told = ", ".join(_RECORDS.format(place) for place in telling)
    return numbered(f"with {named} select {told or '1'}"), telling


def repeated(sql: str, rows: int) -> str | None:
    """Write an insertion of one row as that of several; None: it is none, or goes on after it."""
    values = _VALUES.search(sql)
    return None if values is None else sql + f", {values[0]}" * (rows - 1)


def typed(script: str) -> str:
    """Give the columns of a migration the types that hold what SQLite's hold: 64 bits, bytes."""
    return _TYPE.sub(lambda found: _TYPES.get(found[0], found[0]), script)
