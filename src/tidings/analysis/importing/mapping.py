"""From a file's columns to the canonical record: what is taken, in which unit, by which SQL."""

from typing import Any

import msgspec

from tidings.analysis.importing.columns import DuckDb, Relation, SourceColumn
from tidings.analysis.importing.names import candidates, milliseconds_per_unit, normalised
from tidings.analysis.importing.report import Guess, Mapping
from tidings.analysis.record import FIELDS, RECORD, FieldKind
from tidings.analysis.sql import identifier

SAMPLE_ROWS = 20_000
READABLE_SHARE_MIN = 0.5
LATENCY_SECONDS_MEDIAN_MAX = 100.0

_EMPTY = "('', 'null', 'NULL', 'None', 'nan', 'NaN', 'n/a', 'N/A', '-')"
_TIME_ONLY = {"end_ts": "ts", "first_token_ts": "ts"}
_EPOCHS = ((1e11, "s", 1_000_000), (1e14, "ms", 1_000), (1e17, "us", 1), (1e20, "ns", 0.001))
_QUALITY_SCALES = (1.0, 5.0, 10.0, 100.0)


class Taken(msgspec.Struct, frozen=True):
    """A field, the SQL of its value, and the SQL that is true of a value there but unusable."""

    field: str
    source: str
    value: str
    how: str
    unusable: str = "false"


class Plan(msgspec.Struct, frozen=True):
    """How a relation becomes the record: fields taken, columns kept as they are, units guessed."""

    taken: tuple[Taken, ...]
    kept: tuple[tuple[str, SourceColumn], ...]
    guesses: tuple[Guess, ...]

    def report(self) -> tuple[Mapping, ...]:
        """Return what became of every column."""
        taken = tuple(Mapping(t.source, t.field, t.how) for t in self.taken)
        return taken + tuple(Mapping(column.name, name, "kept") for name, column in self.kept)


def plan_mapping(engine: DuckDb, relation: Relation) -> Plan:
    """Return the mapping that the names of the columns and a sample of their values suggest."""
    engine.execute(f"create temp table sample as select * from {relation.sql} limit {SAMPLE_ROWS}")
    chosen, guesses = _choose(engine, relation)
    taken = _with_durations(chosen)
    taken = _with_cache_included(taken, guesses)
    used = {t.source for t in chosen.values()}
    kept = tuple(
        (f"source_{column.name}" if column.name.lower() in FIELDS else column.name, column)
        for column in relation.columns
        if column.name not in used
    )
    order = {field.name: number for number, field in enumerate(RECORD)}
    ordered = sorted(taken, key=lambda t: order[t.field])
    return Plan(tuple(ordered), kept, tuple(guesses))


def _choose(engine: DuckDb, relation: Relation) -> tuple[dict[str, Taken], list[Guess]]:
    """Give each field the first of its candidates whose values can be read."""
    chosen: dict[str, Taken] = {}
    guesses: list[Guess] = []
    used: set[int] = set()
    for field, number in candidates([column.name for column in relation.columns]):
        if field in chosen or number in used:
            continue
        found = _take(engine, field, relation.columns[number])
        if found is None:
            continue
        chosen[field], guess = found
        used.add(number)
        guesses += [guess] if guess else []
    return chosen, guesses


def _take(engine: DuckDb, field: str, column: SourceColumn) -> tuple[Taken, Guess | None] | None:
    """Return how the column gives the field, None if its values do not."""
    kind = FIELDS[_TIME_ONLY.get(field, field)].kind
    text = _cleaned(column)
    if kind is FieldKind.TEXT:
        return Taken(field, column.name, f"({text})::varchar", "name"), None
    if kind is FieldKind.TIME:
        return _take_time(engine, field, column, text)
    number = f"try_cast({text} as double)"
    seen = _sample(engine, text, number)
    if seen is None:
        return None
    factor, guess = _scale(field, column.name, seen)
    if factor is None:
        return None
    value = f"try_cast({text} as {kind})" if factor == 1.0 else f"({number} * {factor!r})"
    unusable = f"({text} is not null and coalesce({value} < 0, true))"
    return Taken(field, column.name, value, "name", unusable), guess


def _take_time(
    engine: DuckDb, field: str, column: SourceColumn, text: str
) -> tuple[Taken, Guess | None] | None:
    if column.type in ("TIMESTAMP", "DATE"):
        return Taken(field, column.name, f"({text})::timestamp", "name"), None
    zoned = f"(try_cast({text} as timestamptz) at time zone 'UTC')"
    value, guess = zoned, None
    if seen := _sample(engine, text, f"try_cast({text} as double)"):
        epoch = next(((u, f) for limit, u, f in _EPOCHS if seen["median"] < limit), None)
        if epoch is None:
            return None
        unit, factor = epoch
        value = f"make_timestamp((try_cast({text} as double) * {factor!r})::bigint)"
        guess = Guess(field, unit, f"`{column.name}` counts since 1970, by its size in {unit}")
    elif _sample(engine, text, f"epoch({zoned})") is None:
        return None
    return Taken(
        field, column.name, value, "name", f"({text} is not null and {value} is null)"
    ), guess


def _cleaned(column: SourceColumn) -> str:
    """Return the SQL of the value, null for what people write when there is none."""
    if column.type != "VARCHAR":
        return column.sql
    return f"case when {column.sql} in {_EMPTY} then null else {column.sql} end"


def _sample(engine: DuckDb, text: str, number: str) -> dict[str, float] | None:
    """Return median and maximum of the sample, None if most of it are no numbers."""
    row: Any = engine.execute(
        f"select count({text}), count({number}), median({number}), max({number}) from sample"
    ).fetchone()
    filled, readable, median, largest = row
    if not readable or readable < filled * READABLE_SHARE_MIN:
        return None
    return {"median": float(median), "max": float(largest)}


def _scale(field: str, source: str, seen: dict[str, float]) -> tuple[float | None, Guess | None]:
    """Return the factor to the field's unit, None when there is none that fits."""
    if field in ("latency_ms", "ttft_ms"):
        return _duration_scale(field, source, seen["median"])
    if field == "quality_score":
        top = next((s for s in _QUALITY_SCALES if seen["max"] <= s), None)
        if top is None or top == 1.0:
            return (1.0 if top else None), None
        return 1 / top, Guess(
            field, f"0 to {top:g}", f"the largest in `{source}` is {seen['max']:g}"
        )
    if field == "cost_reported" and normalised(source).endswith("cents"):
        return 0.01, Guess(field, "US cents", f"the name `{source}`")
    return 1.0, None


def _duration_scale(field: str, source: str, median: float) -> tuple[float, Guess | None]:
    named = milliseconds_per_unit(source)
    if named is not None:
        return named, None
    if median < LATENCY_SECONDS_MEDIAN_MAX:
        return 1e3, Guess(field, "s", f"`{source}` names no unit; its median is {median:g}")
    return 1.0, Guess(field, "ms", f"`{source}` names no unit; its median is {median:g}")


def _with_durations(chosen: dict[str, Taken]) -> list[Taken]:
    """Derive latency and time to first token from times, where they are not given."""
    taken = [t for field, t in chosen.items() if field in FIELDS]
    start = chosen.get("ts")
    for field, end in (("latency_ms", "end_ts"), ("ttft_ms", "first_token_ts")):
        if start is None or field in chosen or end not in chosen:
            continue
        value = f"(epoch_us({chosen[end].value}) - epoch_us({start.value})) / 1000.0"
        source = f"{chosen[end].source} - {start.source}"
        taken.append(Taken(field, source, f"case when {value} >= 0 then {value} end", "derived"))
    return taken


def _with_cache_included(taken: list[Taken], guesses: list[Guess]) -> list[Taken]:
    """Add cached tokens to the input where, as in Anthropic's exports, they are counted apart."""
    by_field = {t.field: t for t in taken}
    cached, total = by_field.get("cached_input_tokens"), by_field.get("input_tokens")
    if cached is None or total is None:
        return taken
    if not (_last(cached) == "cache_read_input_tokens" and _last(total) == "input_tokens"):
        return taken
    guesses.append(
        Guess("input_tokens", "tokens", "cached tokens are counted apart here and were added")
    )
    apart = [
        by_field[f].value for f in ("cached_input_tokens", "cache_write_tokens") if f in by_field
    ]
    value = " + ".join([total.value, *(f"coalesce({sql}, 0)" for sql in apart)])
    included = msgspec.structs.replace(total, value=f"({value})", how="derived")
    return [included if t is total else t for t in taken]


def _last(taken: Taken) -> str:
    return normalised(taken.source.rpartition(".")[2])


def kept_sql(name: str, column: SourceColumn) -> str:
    """Return the projection of a column that is no field."""
    return f"{column.sql} as {identifier(name)}"
