"""What requests cost, computed in SQL over all rows at once.

A request costs what its log reports; else what the price list says of its model, provider, day,
size, cache and batch use; else it has no price.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidings.analysis.prices import DAY_ENDS, PriceList, Rate
from tidings.analysis.record import RECORD
from tidings.domain.facts import NO_VALUE

_BATCH_WORDS = "('true', 't', '1', 'yes', 'batch')"
_MIDNIGHT = "24:00:00"
_FIELDS = ", ".join(f.name for f in RECORD if f.name != "model")


@dataclass(slots=True)
class Places:
    """The values of a statement; each is given a `$name` to stand in the SQL for it."""

    values: dict[str, Any] = field(default_factory=dict)

    def put(self, value: str) -> str:
        """Return the place of the value."""
        for name, known in self.values.items():
            if known == value:
                return f"${name}"
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def requests_sql(places: Places, where: Sequence[tuple[str, str]], assume_model: str | None) -> str:
    """Return the SELECT of all requests that the filters let through.

    `where` are pairs of a field's name, which must be one of ours, and a value. Requests with no
    model are taken for `assume_model`.
    """
    model = "model" if assume_model is None else f"coalesce(model, {places.put(assume_model)})"
    conditions = [
        f"coalesce({name if name != 'model' else model}, '{NO_VALUE}') = {places.put(value)}"
        for name, value in where
    ]
    narrowed = f" where {' and '.join(conditions)}" if conditions else ""
    return f"select {model} as model, {_FIELDS} from usage{narrowed}"


class Pricing:
    """The price list, for the models of one data set."""

    def __init__(
        self,
        prices: PriceList,
        pairs: Iterable[tuple[str | None, str]],
        *,
        with_batch: bool,
    ) -> None:
        self._rates = {
            (provider, model, batch): prices.rates(provider, model, batch=batch)
            for provider, model in dict.fromkeys(pairs)
            for batch in ((False, True) if with_batch else (False,))
        }
        self._with_batch = with_batch

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the models that the price list does not know."""
        return tuple(sorted({model for (_, model, _), rates in self._rates.items() if not rates}))

    @property
    def knows_any(self) -> bool:
        """Tell whether any model has a price."""
        return any(self._rates.values())

    def table(self, places: Places) -> str:
        """Return the rates as a table to join: one row holds for each request."""
        rows = [
            f"({places.put(provider or NO_VALUE)}, {places.put(model)}, {batch}, {_row(rate)})"
            for (provider, model, batch), rates in self._rates.items()
            for rate in rates
        ]
        empty = f"({', '.join(['null'] * 15)})"
        return (
            "select * from (values " + ", ".join(rows or [empty]) + ") as price(provider, model, "
            "batch, input, cached, cache_write, output, reasoning, request, "
            "day_from, day_to, time_from, time_to, tokens_over, tokens_upto)"
        )

    def joins(self, price: str, requests: str, *, on_model: bool) -> str:
        """Return the condition under which a row of the table holds for a request."""
        r, p = requests, price
        conditions = ["true"]
        if on_model:
            conditions += [
                f"{r}.model = {p}.model",
                f"coalesce({r}.provider, '{NO_VALUE}') = {p}.provider",
            ]
        if self._with_batch:
            is_batch = f"coalesce(lower({r}.batch) in {_BATCH_WORDS}, false)"
            conditions.append(f"{is_batch} = {p}.batch")
        if not all(rate.always for rates in self._rates.values() for rate in rates):
            size, at = f"coalesce({r}.input_tokens, 0)", f"coalesce({r}.ts, timestamp '9999-12-30')"
            conditions += [
                f"{size} > {p}.tokens_over and {size} <= {p}.tokens_upto",
                f"{at}::date >= {p}.day_from and {at}::date < {p}.day_to",
                f"{at}::time >= {p}.time_from and {at}::time < {p}.time_to",
            ]
        return " and ".join(conditions)


def list_price(price: str, requests: str) -> str:
    """Return the SQL of a request's price by a row of the table; null where the tokens contradict.

    `input_tokens` includes cached ones, `output_tokens` those spent on reasoning.
    """
    r, p = requests, price
    total = f"coalesce({r}.input_tokens, 0)"
    cached = f"coalesce({r}.cached_input_tokens, 0)"
    written = f"coalesce({r}.cache_write_tokens, 0)"
    output = f"coalesce({r}.output_tokens, 0)"
    thought = f"coalesce({r}.reasoning_tokens, 0)"
    return (
        f"case when coalesce({r}.input_tokens, {r}.output_tokens) is not null "
        f"and {cached} + {written} <= {total} and {thought} <= {output} then "
        f"({total} - {cached} - {written}) * {p}.input + {cached} * {p}.cached "
        f"+ {written} * {p}.cache_write + ({output} - {thought}) * {p}.output "
        f"+ {thought} * {p}.reasoning + {p}.request end"
    )


def costed_sql(pricing: Pricing, places: Places, requests: str) -> str:
    """Return CTEs that end in `costed`: the requests with `list_usd` and `cost_usd`."""
    return (
        f"with price as materialized ({pricing.table(places)}), "
        f"requests as not materialized ({requests}), "
        "costed as not materialized (select *, coalesce(cost_reported, list_usd) as cost_usd from "
        f"(select r.*, {list_price('p', 'r')} as list_usd from requests r "
        f"left join price p on {pricing.joins('p', 'r', on_model=True)}))"
    )


def _row(rate: Rate) -> str:
    amounts = (rate.input, rate.cached, rate.cache_write, rate.output, rate.reasoning, rate.request)
    time_to = _MIDNIGHT if rate.time_to == DAY_ENDS else rate.time_to
    return (
        ", ".join(f"{amount:f}::double" for amount in amounts)
        + f", date '{rate.day_from}', date '{rate.day_to}', time '{rate.time_from}', "
        f"time '{time_to}', {rate.tokens_over}, {rate.tokens_upto}"
    )
