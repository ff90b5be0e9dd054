"""What every tool over usage data does: open the data set, ask it, and tell what was found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tidings.analysis.cost import Places, Pricing, costed_sql, requests_sql
from tidings.analysis.dataset import Dataset
from tidings.analysis.library import Library
from tidings.analysis.prices import PriceList
from tidings.analysis.record import FIELDS, Dimension
from tidings.analysis.sandbox.frames import Rows
from tidings.analysis.sandbox.pool import Sandbox
from tidings.analysis.sql import Statement
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import NO_VALUE, Column, Fact, Table, ToolResult, Unit, Value
from tidings.tools.port import ToolContext

VALUE_CHARS_MAX = 256
FILTERS_MAX = 16
TOP_MAX = 500


class Filter(BaseModel):
    """Keep the requests whose field has this value; `(none)` stands for no value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: Dimension
    equals: Annotated[str, Field(max_length=VALUE_CHARS_MAX)]


Where = Annotated[tuple[Filter, ...], Field(max_length=FILTERS_MAX)]
Top = Annotated[int, Field(ge=1, le=TOP_MAX)]
ModelName = Annotated[str, Field(min_length=1, max_length=VALUE_CHARS_MAX)]

Scalars = Mapping[str, tuple[Value, Unit, str]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The requests that a call is about."""

    dataset: Dataset
    where: tuple[Filter, ...] = ()
    assume_model: str | None = None

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """Return the filters as pairs of field and value."""
        return tuple((str(f.field), f.equals) for f in self.where)

    def require(self, *fields: str) -> None:
        """Refuse to go on without these fields.

        Raises:
            InvalidInput: `fields_missing`, naming them.
        """
        wanted = dict.fromkeys([*fields, *(str(f.field) for f in self.where)])
        if missing := [name for name in wanted if not self.has(name)]:
            told = ", ".join(f"`{name}` ({FIELDS[name].label})" for name in missing)
            raise InvalidInput(
                "fields_missing", f"The data have no {told}, which this analysis needs."
            )

    def has(self, field: str) -> bool:
        """Tell whether any request has the field; an assumed model counts."""
        return field in self.dataset.fields or (field == "model" and bool(self.assume_model))

    def absent(self, *fields: str) -> tuple[str, ...]:
        """Return those of the fields that the data lack."""
        return tuple(field for field in fields if not self.has(field))


class UsageData:
    """The data sets of users, as tools read them."""

    def __init__(self, library: Library, sandbox: Sandbox, prices: PriceList) -> None:
        self._library = library
        self._sandbox = sandbox
        self.prices = prices

    async def select(
        self, ctx: ToolContext, where: tuple[Filter, ...] = (), assume_model: str | None = None
    ) -> Selection:
        """Return the requests in the run's files that the filters let through.

        Raises:
            InvalidInput: `no_data`, or `fields_missing` for a filter.
        """
        dataset = await self._library.dataset(ctx.user, ctx.files)
        selection = Selection(dataset, where, assume_model)
        selection.require()
        return selection

    async def ask(self, selection: Selection, statement: Statement, rows_max: int) -> Rows:
        """Return the statement's rows, at most so many.

        Raises:
            TidingsError: as `Sandbox.query`.
        """
        return await self._sandbox.query(
            selection.dataset, statement.sql, statement.parameters, rows_max=rows_max
        )

    def pricing(self, selection: Selection) -> Pricing:
        """Return the list prices of the models that occur."""
        pairs = [
            (provider, model or selection.assume_model)
            for provider, model in selection.dataset.models
        ]
        known = [(provider, model) for provider, model in pairs if model is not None]
        return Pricing(self.prices, known, with_batch="batch" in selection.dataset.fields)


def plain(selection: Selection, sql: str) -> Statement:
    """Return the statement over `requests`: those selected."""
    places = Places()
    requests = requests_sql(places, selection.filters, selection.assume_model)
    return Statement(f"with requests as ({requests}) {sql}", places.values)


def costed(selection: Selection, pricing: Pricing, sql: str) -> Statement:
    """Return the statement over `costed`: the requests selected, with `cost_usd` and `list_usd`."""
    places = Places()
    requests = requests_sql(places, selection.filters, selection.assume_model)
    return Statement(f"{costed_sql(pricing, places, requests)} {sql}", places.values)


def grouped(dimension: Dimension) -> str:
    """Return the SQL of the dimension's value, by which to group."""
    return f"coalesce({dimension}, '{NO_VALUE}') as {dimension}"


def heading(dimension: Dimension) -> Column:
    """Return the column of a dimension."""
    return Column(dimension, Unit.NAME, FIELDS[dimension].label)


def first_row(rows: Rows, selection: Selection) -> tuple[Value, ...]:
    """Return the first row.

    Raises:
        InvalidInput: `no_match`, there is none because the filters let nothing through.
    """
    if not rows.rows:
        told = " and ".join(f"{f.field} = '{f.equals}'" for f in selection.where)
        raise InvalidInput("no_match", f"No request has {told or 'what this analysis needs'}.")
    return rows.rows[0]


@dataclass(frozen=True, slots=True)
class Computed:
    """What a tool found, before its facts have ids."""

    summary: str
    statement: str
    rows: int
    scalars: Scalars
    table: Table | None = None
    notes: Iterable[str] = ()
    missing: tuple[str, ...] = ()

    def result(self, ctx: ToolContext, tool: str) -> ToolResult:
        """Return it with a fact for every scalar that has a value."""
        facts = tuple(
            Fact(f"{ctx.call_id}.{n}", v, unit, label, tool, ctx.call_id, self.statement, self.rows)
            for n, (v, unit, label) in self.scalars.items()
            if v is not None
        )
        return ToolResult(
            summary=self.summary,
            facts=facts,
            table=self.table,
            notes=tuple(self.notes),
            missing=self.missing,
            source=self.statement,
            rows=self.rows,
        )


def table(columns: Sequence[Column], rows: Rows, top: int) -> Table:
    """Return the first `top` rows of the answer, as far as there are columns for them."""
    width = len(columns)
    return Table(
        columns=tuple(columns),
        rows=tuple(row[:width] for row in rows.rows[:top]),
        truncated=rows.truncated or len(rows.rows) > top,
    )


def price_notes(
    selection: Selection, pricing: Pricing, *, counted: Any, priced: Any, reported: Any
) -> list[str]:
    """Say where the costs of the requests that were counted come from, and how many have none.

    Of those that are `priced`, some have their cost `reported` in the log.
    """
    listed = int(priced or 0) - int(reported or 0)
    unpriced = int(counted or 0) - int(priced or 0)
    notes = []
    if reported:
        notes.append(f"The cost of {reported:,} requests is as reported in the log.")
    if listed:
        notes.append(f"The cost of {listed:,} requests is by the price list.")
    if listed and selection.assume_model:
        notes.append(f"Requests that name no model are priced as {selection.assume_model}.")
    if pricing.unknown:
        notes.append(f"The price list has no price for: {', '.join(pricing.unknown[:20])}.")
    if unpriced:
        notes.append(f"{unpriced:,} requests have no price and are in no amount.")
    return notes


def missing_for_cost(selection: Selection) -> tuple[str, ...]:
    """Return the fields whose absence leaves requests without a price."""
    if selection.has("cost_reported") or selection.has("model"):
        return ()
    return ("model", "cost_reported")
