"""The columns of a file, read by DuckDB, whatever its format."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import duckdb
import msgspec

from tidings.analysis.importing.errors import ImportRefused
from tidings.analysis.importing.report import Rejection
from tidings.analysis.importing.sniff import Format, Source
from tidings.analysis.sql import identifier, text_literal

LINE_BYTES_MAX = 4 << 20
COLUMNS_MAX = 500
NESTING_MAX = 4
REJECTS_MAX = 100_000

Keys = tuple[str, ...]

_NATIVE = ("BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "DATE", "VARCHAR")
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER")


class SourceColumn(msgspec.Struct, frozen=True):
    """A column as its owner named it, the SQL that reads it, and the type it then has."""

    name: str
    sql: str
    type: str = "VARCHAR"


class Relation(msgspec.Struct, frozen=True):
    """Something to select from. `broken` is true of records that could not be read."""

    sql: str
    columns: tuple[SourceColumn, ...]
    broken: str = "false"


class DuckDb(Protocol):
    """The part of a DuckDB connection that is used here."""

    def execute(self, query: str) -> duckdb.DuckDBPyConnection:
        """Run one statement."""
        ...


def read_columns(engine: DuckDb, source: Source) -> Relation:
    """Return the file as a relation.

    Raises:
        ImportRefused: `header_missing`, `too_many_columns`, `row_too_long`, `no_rows`.
    """
    if source.format is Format.CSV:
        relation = _csv(source.path)
    elif source.format is Format.PARQUET:
        relation = _parquet(engine, source.path)
    else:
        relation = _json(engine, source.path, source.format)
    if len(relation.columns) > COLUMNS_MAX:
        raise ImportRefused(
            "too_many_columns",
            f"Row 1 has {len(relation.columns):,} columns; at most {COLUMNS_MAX} can be imported.",
        )
    return relation


def structural_rejections(engine: DuckDb, source: Source) -> list[Rejection]:
    """Return the lines of a CSV file that DuckDB could not split into columns, by reason.

    Raises:
        ImportRefused: `row_too_long`.
    """
    if source.format is not Format.CSV:
        return []
    rows = engine.execute(
        "select lower(error_type::varchar), count(distinct line), min(line) "
        "from reject_errors group by 1 order by 2 desc"
    ).fetchall()
    if any("line size" in reason for reason, _, _ in rows):
        raise row_too_long(source.path)
    return [Rejection(reason, count, line) for reason, count, line in rows]


def row_too_long(path: Path) -> ImportRefused:
    """Return the refusal that names the first line that is too long."""
    line = next(_long_lines(path), 0)
    where = f"Row {line:,}" if line else "A row"
    return ImportRefused(
        "row_too_long", f"{where} has more than {LINE_BYTES_MAX:,} bytes; is a quote unclosed?"
    )


def _csv(path: Path) -> Relation:
    with path.open("rb") as file:
        line = file.readline(LINE_BYTES_MAX + 1)
    if len(line) > LINE_BYTES_MAX:
        raise row_too_long(path)
    header = line.decode("utf-8", errors="replace").removeprefix("\ufeff").rstrip("\r\n")
    delimiter = max(",\t;|", key=lambda d: len(_split(header, d)))
    names = _split(header, delimiter)
    if all(_is_number(name) or not name.strip() for name in names):
        raise ImportRefused("header_missing", "The first line must name the columns.")
    columns = {f"c{number}": "VARCHAR" for number in range(len(names))}
    sql = (
        f"read_csv({text_literal(str(path))}, columns = {columns}, auto_detect = false, "
        f"header = true, delim = {text_literal(delimiter)}, quote = '\"', escape = '\"', "
        f"max_line_size = {LINE_BYTES_MAX}, store_rejects = true, rejects_limit = {REJECTS_MAX})"
    )
    named = _unique(name.strip() or f"column {n}" for n, name in enumerate(names, 1))
    return Relation(sql, tuple(SourceColumn(n, c) for n, c in zip(named, columns, strict=True)))


def _split(header: str, delimiter: str) -> list[str]:
    return next(csv.reader([header], delimiter=delimiter), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unique(names: Iterator[str]) -> list[str]:
    seen: dict[str, str] = {}
    for name in names:
        free, number = name[:256], 1
        while free.lower() in seen:
            number += 1
            free = f"{name[:256]}_{number}"
        seen[free.lower()] = free
    return list(seen.values())


def _parquet(engine: DuckDb, path: Path) -> Relation:
    sql = f"read_parquet({text_literal(str(path))})"
    rows = engine.execute(f"describe select * from {sql}").fetchall()
    return Relation(sql, tuple(_parquet_column(str(name), str(kind)) for name, kind, *_ in rows))


def _parquet_column(name: str, kind: str) -> SourceColumn:
    column = identifier(name)
    if kind in _NATIVE:
        return SourceColumn(name, column, kind)
    if kind in _INTEGERS:
        return SourceColumn(name, f"{column}::bigint", "BIGINT")
    if kind in ("FLOAT", "REAL", "UBIGINT", "HUGEINT") or kind.startswith("DECIMAL"):
        return SourceColumn(name, f"{column}::double", "DOUBLE")
    if kind == "TIMESTAMP WITH TIME ZONE":
        return SourceColumn(name, f"({column} at time zone 'UTC')", "TIMESTAMP")
    if kind.startswith("TIMESTAMP"):
        return SourceColumn(name, f"{column}::timestamp", "TIMESTAMP")
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        return SourceColumn(name, f"to_json({column})::varchar")
    return SourceColumn(name, f"{column}::varchar")


def _json(engine: DuckDb, path: Path, format_: Format) -> Relation:
    layout = "newline_delimited', ignore_errors = true" if format_ is Format.JSONL else "array'"
    objects = (
        f"read_json_objects({text_literal(str(path))}, format = '{layout}, "
        f"maximum_object_size = {LINE_BYTES_MAX})"
    )
    paths = list(_leaves(_structure(engine, objects), ()))
    if not paths:
        raise ImportRefused("no_rows", "The file holds no JSON objects with fields, one per line.")
    places = ", ".join(_place(path) for path in paths)
    sql = (
        "(select case when json_type(json) = 'OBJECT' "
        f"then json_extract_string(json, [{places}]) end as v from {objects})"
    )
    named = _unique(".".join(path) for path in paths)
    columns = tuple(SourceColumn(name, f"v[{n}]") for n, name in enumerate(named, 1))
    return Relation(sql, columns, broken="v is null")


def _structure(engine: DuckDb, objects: str) -> dict[str, Any]:
    """Return the keys of all records, nested as they are.

    Records with the same keys in the same places are looked at once; a pass finds the places of the
    next, deeper one.
    """
    nested: list[Keys] = [()]
    while True:
        keys = ", ".join(f"json_keys(json, {_place(path)})" for path in nested)
        row = engine.execute(
            "select json_group_structure(json) from (select any_value(json) as json "
            f"from {objects} where json_type(json) = 'OBJECT' group by hash({keys}))"
        ).fetchone()
        tree = json.loads(row[0]) if row and row[0] else {}
        found = [(), *_inner(tree, ())]
        if len(found) <= len(nested) or len(found) > COLUMNS_MAX:
            return tree if isinstance(tree, dict) else {}
        nested = found


def _inner(tree: dict[str, Any], at: Keys) -> Iterator[Keys]:
    """Yield the places of nested objects that are looked into."""
    for key, kind in tree.items():
        if '"' not in key and isinstance(kind, dict) and len(at) + 1 < NESTING_MAX:
            yield (*at, key)
            yield from _inner(kind, (*at, key))


def _leaves(tree: dict[str, Any], at: Keys) -> Iterator[Keys]:
    for key, kind in tree.items():
        if '"' in key:
            continue  # cannot be named in a JSON path
        if isinstance(kind, dict) and kind and len(at) + 1 < NESTING_MAX:
            yield from _leaves(kind, (*at, key))
        else:
            yield (*at, key)


def _place(path: Keys) -> str:
    """Return the JSON path as an SQL literal."""
    keys = (key.replace("\\", "\\\\") for key in path)
    return text_literal("$" + "".join(f'."{key}"' for key in keys))


def _long_lines(path: Path) -> Iterator[int]:
    """Yield the numbers of the lines that are too long, holding no line in memory."""
    number, length = 1, 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            first, *others = chunk.split(b"\n")
            length += len(first)
            for part in others:
                if length > LINE_BYTES_MAX:
                    yield number
                number, length = number + 1, len(part)
    if length > LINE_BYTES_MAX:
        yield number
