"""The two things in which PostgreSQL reads our SQL differently: placeholders and column types."""

import re
from functools import lru_cache

TEXTS_CACHED = 4_096

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|\?")
_TYPE = re.compile(r"--[^\n]*|\b(?:integer|blob)\b")
_TYPES = {"integer": "bigint", "blob": "bytea"}


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


def typed(script: str) -> str:
    """Give the columns of a migration the types that hold what SQLite's hold: 64 bits, bytes."""
    return _TYPE.sub(lambda found: _TYPES.get(found[0], found[0]), script)
