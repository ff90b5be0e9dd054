"""Inside the child: one file in, one DuckDB file with the table `usage` out."""

from pathlib import Path
from typing import Any

import duckdb

from tidings.analysis.importing.columns import (
    DuckDb,
    Relation,
    read_columns,
    row_too_long,
    structural_rejections,
)
from tidings.analysis.importing.errors import ImportRefused
from tidings.analysis.importing.mapping import Plan, kept_sql, plan_mapping
from tidings.analysis.importing.report import ImportReport, Rejection
from tidings.analysis.importing.sniff import Source, open_source
from tidings.analysis.record import FIELDS, RECORD, FieldKind
from tidings.analysis.sql import text_literal

ROWS_MAX = 500_000_000
MODELS_MAX = 1_000

_REJECTED = "__rejected"


def load(
    engine: duckdb.DuckDBPyConnection,
    upload: Path,
    name: str,
    target: Path,
    expanded_bytes_max: int,
) -> ImportReport:
    """Write the upload's usable rows to `target` and say what became of everything.

    Other files may be left beside `target`.

    Raises:
        ImportRefused: nothing of it can be used, or a limit of the format is passed.
    """
    source = open_source(upload, name, target.parent, expanded_bytes_max)
    try:
        relation = read_columns(engine, source)
        plan = plan_mapping(engine, relation)
        _require_fields(plan)
        engine.execute(f"attach {text_literal(str(target))} as target")
        engine.execute(_insert(relation, plan))
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        if "maximum_object_size" in str(error) or "Maximum line size" in str(error):
            raise row_too_long(source.path) from error
        raise
    report = _settle(engine, source, plan)
    engine.execute("detach target")
    return report


def _require_fields(plan: Plan) -> None:
    if not plan.taken:
        names = ", ".join(f"`{column.name}`" for _, column in plan.kept[:8])
        raise ImportRefused(
            "no_usage_fields",
            f"None of the columns ({names}) is a known field of a usage log, such as `timestamp`, "
            "`model`, `input_tokens` or `output_tokens`. Rename the columns and upload again.",
        )


def _insert(relation: Relation, plan: Plan) -> str:
    taken = {t.field: t for t in plan.taken}
    fields = [
        f"{taken[f.name].value if f.name in taken else 'null'}::{f.kind} as {f.name}"
        for f in RECORD
    ]
    kept = [kept_sql(name, column) for name, column in plan.kept]
    reasons = [f"when {relation.broken} then 'not a JSON object'"]
    reasons += [f"when {t.unusable} then {text_literal(_reason(t.field))}" for t in plan.taken]
    rejected = f"case {' '.join(reasons)} end as {_REJECTED}"
    return (
        f"create table target.usage as select {', '.join([*fields, *kept, rejected])} "
        f"from {relation.sql}"
    )


def _reason(field: str) -> str:
    is_time = field not in FIELDS or FIELDS[field].kind is FieldKind.TIME
    return f"{field} is not a time" if is_time else f"{field} is not a number of 0 or more"


def _settle(engine: DuckDb, source: Source, plan: Plan) -> ImportReport:
    """Take the rejected rows out again, and count."""
    rejections = structural_rejections(engine, source)
    rows = engine.execute(
        f"select {_REJECTED}, count(*), min(rowid) + 1 from target.usage "
        f"where {_REJECTED} is not null group by 1 order by 2 desc"
    ).fetchall()
    rejections += [Rejection(reason, count, first) for reason, count, first in rows]
    if rows:
        engine.execute(f"delete from target.usage where {_REJECTED} is not null")
    engine.execute(f"alter table target.usage drop column {_REJECTED}")
    counts = _counts(engine)
    if counts["rows"] == 0:
        why = (
            "; ".join(f"{r.rows:,} times {r.reason}" for r in rejections)
            or "it holds only a header"
        )
        raise ImportRefused("no_rows", f"No row of the file could be used: {why}.")
    if counts["rows"] > ROWS_MAX:
        raise ImportRefused("too_many_rows", f"The file has over {ROWS_MAX:,} rows; split it.")
    return ImportReport(
        format=source.format,
        rows=counts["rows"],
        rejected=sum(r.rows for r in rejections),
        rejections=tuple(rejections),
        columns=plan.report(),
        guesses=plan.guesses,
        missing=tuple(f.name for f in RECORD if not counts[f.name]),
        first_ts=counts["first_ts"],
        last_ts=counts["last_ts"],
        models=_models(engine),
    )


def _counts(engine: DuckDb) -> dict[str, Any]:
    filled = ", ".join(f"count({f.name}) as {f.name}" for f in RECORD)
    cursor = engine.execute(
        f"select count(*) as rows, {filled}, "
        "strftime(min(ts), '%Y-%m-%dT%H:%M:%S.%fZ') as first_ts, "
        "strftime(max(ts), '%Y-%m-%dT%H:%M:%S.%fZ') as last_ts from target.usage"
    )
    row: Any = cursor.fetchone()
    return {str(d[0]): v for d, v in zip(cursor.description or [], row, strict=True)}


def _models(engine: DuckDb) -> tuple[tuple[str | None, str | None], ...]:
    rows = engine.execute(
        "select provider, model from target.usage group by all "
        f"order by count(*) desc limit {MODELS_MAX}"
    ).fetchall()
    return tuple((provider, model) for provider, model in rows)
