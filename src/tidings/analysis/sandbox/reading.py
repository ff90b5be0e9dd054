"""Inside the child: open data sets read-only, let one SELECT through, return bounded rows."""

import datetime
import decimal
import json
import math
import re
from typing import Any

import duckdb

from tidings.analysis.sandbox.frames import Query, Refused, Rows
from tidings.analysis.sql import identifier, text_literal

CELL_CHARS_MAX = 4096
FETCH_ROWS = 512
MESSAGE_CHARS_MAX = 400

_PLAIN_EXPLAIN = re.compile(r"explain\s+(select|with|from|values)\b", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.])(/[\w.\-]+){2,}/?")
_ZONED = "TIMESTAMP WITH TIME ZONE"
_LOCKED = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "max_temp_directory_size": "0B",
    "home_directory": "/nonexistent",
    "extension_directory": "/nonexistent",
    "secret_directory": "/nonexistent",
    "temp_directory": "/nonexistent",
}


def open_files(connection: duckdb.DuckDBPyConnection, files: tuple[str, ...]) -> None:
    """Make the view `usage` of all rows of the files, read-only; then lock the engine for good."""
    for name, value in _LOCKED.items():
        connection.execute(f"set {name} = {value!r}")
    for number, path in enumerate(files):
        connection.execute(f"attach {text_literal(path)} as f{number} (read_only)")
    if files:
        connection.execute(f"create view usage as {_union(connection, len(files))}")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def new_engine(memory_bytes: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Return an in-memory engine in UTC, with no progress bar and bounded memory."""
    connection = duckdb.connect(":memory:", config={"threads": threads})
    connection.execute(f"set memory_limit = '{memory_bytes}B'")
    connection.execute("set enable_progress_bar = false")
    connection.execute("set TimeZone = 'UTC'")
    return connection


def answer(connection: duckdb.DuckDBPyConnection, query: Query) -> Rows | Refused:
    """Return the rows of the statement, or why it was refused."""
    try:
        if refusal := _gate(connection, query.sql):
            return refusal
        return _bounded(_execute(connection, query), query)
    except (MemoryError, duckdb.OutOfMemoryException):
        return Refused("sql_resource_limit", "The query needs more memory than a query may use.")
    except duckdb.PermissionException as error:
        return Refused("sql_forbidden", sanitised(error))
    except duckdb.CatalogException as error:
        return _unknown(error)
    except duckdb.Error as error:
        return Refused("sql_invalid", sanitised(error))


def sanitised(error: Exception) -> str:
    """Return the engine's message without paths or control characters, shortened."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    return _PATH.sub("(path)", re.sub(r" {2,}", " ", text))[:MESSAGE_CHARS_MAX]


def _gate(connection: duckdb.DuckDBPyConnection, sql: str) -> Refused | None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        return Refused("sql_forbidden", "Send exactly one SELECT statement.")
    kind = statements[0].type
    if kind == duckdb.StatementType.SELECT:
        return None
    if kind == duckdb.StatementType.EXPLAIN and _PLAIN_EXPLAIN.match(sql.strip()):
        return None
    return Refused(
        "sql_forbidden", "Only SELECT (or a plain EXPLAIN of one) may be run over the data."
    )


def _unknown(error: duckdb.CatalogException) -> Refused:
    message = sanitised(error)
    if message.startswith("Catalog Error: Table with name"):
        return Refused("table_not_found", f"{message} The data are in the view `usage`.")
    return Refused("sql_invalid", message)


def _execute(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyConnection:
    """Run the statement; times with a zone come out as times in UTC.

    The engine would ask the package pytz for the zone, which is not there.
    """
    cursor = connection.execute(query.sql, query.parameters or None)
    kinds = [str(column[1]) for column in cursor.description or []]
    if _ZONED not in kinds:
        return cursor
    names = [identifier(str(column[0])) for column in cursor.description or []]
    columns = [f"c{number}" for number in range(len(kinds))]
    picked = (
        f"{column}::timestamp as {name}" if kind == _ZONED else f"{column} as {name}"
        for column, kind, name in zip(columns, kinds, names, strict=True)
    )
    return connection.execute(
        f"select {', '.join(picked)} from ({query.sql.strip().rstrip(';')}\n) "
        f"as result({', '.join(columns)})",
        query.parameters or None,
    )


def _bounded(cursor: duckdb.DuckDBPyConnection, query: Query) -> Rows:
    rows: list[tuple[Any, ...]] = []
    size, truncated = 0, False
    while not truncated and (batch := cursor.fetchmany(FETCH_ROWS)):
        for row in batch:
            cells = tuple(_cell(value) for value in row)
            size += sum(len(c) if isinstance(c, str) else 8 for c in cells)
            if len(rows) == query.rows_max or size > query.bytes_max:
                truncated = True
                break
            rows.append(cells)
    description = cursor.description or []
    return Rows(
        columns=tuple(str(column[0]) for column in description),
        types=tuple(str(column[1]) for column in description),
        rows=tuple(rows),
        truncated=truncated,
    )


def _cell(value: Any) -> int | float | str | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= CELL_CHARS_MAX else value[:CELL_CHARS_MAX] + "…"
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, list | dict | tuple):
        return _cell(json.dumps(value, default=str, ensure_ascii=False))
    return _cell(value.hex() if isinstance(value, bytes) else str(value))


def _union(connection: duckdb.DuckDBPyConnection, files: int) -> str:
    """Return the union of all files; where they disagree on a column's type, as text."""
    schemas = [_schema(connection, number) for number in range(files)]
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for name, kind in schema.items():
            kinds.setdefault(name, set()).add(kind)
    common = {name: seen.pop() if len(seen) == 1 else "VARCHAR" for name, seen in kinds.items()}
    return " union all ".join(
        f"select {', '.join(_pick(n, kind, schema) for n, kind in common.items())} "
        f"from f{number}.usage"
        for number, schema in enumerate(schemas)
    )


def _schema(connection: duckdb.DuckDBPyConnection, number: int) -> dict[str, str]:
    rows = connection.execute(f"describe f{number}.usage").fetchall()
    return {name: kind for name, kind, *_ in rows}


def _pick(name: str, kind: str, schema: dict[str, str]) -> str:
    if name not in schema:
        return f"null::{kind} as {identifier(name)}"
    if schema[name] != kind:
        return f"{identifier(name)}::{kind} as {identifier(name)}"
    return identifier(name)
