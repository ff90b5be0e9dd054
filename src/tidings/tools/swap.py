"""What requests would cost on another model, by the price list on both sides."""

from dataclasses import replace
from math import sqrt
from typing import Any

from tidings.analysis.cost import Places, Pricing, costed_sql, list_price, requests_sql
from tidings.analysis.record import Dimension
from tidings.analysis.sql import Statement
from tidings.domain.errors import InvalidInput
from tidings.domain.facts import NO_VALUE, Column, Table, ToolResult, Unit, Value
from tidings.tools.data import Computed, ModelName, Selection, UsageData, Where, first_row
from tidings.tools.port import ToolContext

_UNMEASURED = (
    "Price only: quality on {model} is unmeasured. To measure it, run a sample of these requests "
    "on {model} too, score both answers, and log the score as `quality_score`."
)
_SCORES = "avg(quality_score), var_samp(quality_score), count(quality_score)"
CONFIDENCE = 0.95
_STANDARD_ERRORS = 1.96
"""Half the width of a two-sided 95 % interval of a normal variable, in standard errors."""
_COLUMNS = (
    Column("from_model", Unit.NAME, "from"),
    Column("to_model", Unit.NAME, "to"),
    Column("requests", Unit.REQUESTS, "requests"),
    Column("current_usd", Unit.USD, "cost now"),
    Column("repriced_usd", Unit.USD, "cost on the other model"),
    Column("saving_usd", Unit.USD, "saving"),
    Column("saving_share", Unit.RATIO, "saving, share of the cost now"),
)


class Swap:
    """The tool that compares models by price."""

    def __init__(self, data: UsageData) -> None:
        self._data = data

    async def reprice(
        self,
        ctx: ToolContext,
        to_model: ModelName,
        from_model: ModelName | None = None,
        where: Where = (),
        assume_model: ModelName | None = None,
    ) -> ToolResult:
        """What the same tokens would have cost on another model; both sides by the price list.

        Compares requests of `from_model`, or of every other model than `to_model`. Where requests
        of both carry a quality score, the mean scores are told, and how much quality the move may
        lose at the least and at the most; else quality is unmeasured.
        """
        whole = await self._data.select(ctx, where, assume_model)
        whole.require("model", "input_tokens", "output_tokens")
        of_models = [f.equals for f in where if f.field is Dimension.MODEL]
        models = dict.fromkeys([*([from_model] if from_model else []), *of_models])
        selection = replace(whole, where=tuple(f for f in where if f.field is not Dimension.MODEL))
        pricing, target = self._data.pricing(selection), self._target(selection, to_model)
        statement = _statement(selection, pricing, target, to_model, tuple(models))
        row = first_row(await self._data.ask(selection, statement, 1), whole)
        requests, current, repriced, unpriced, *quality = row
        if not requests or current is None or repriced is None:
            raise InvalidInput(
                "no_match",
                "There are no requests of another model that have a list price to compare with.",
            )
        names = ", ".join(models) or f"all but {to_model}"
        moved = (requests, current, repriced, *_saving(float(current), float(repriced)))
        amounts = {
            column.name: (value, column.unit, column.label)
            for column, value in zip(_COLUMNS[2:], moved, strict=True)
        }
        scores, note = _quality(to_model, quality)
        notes = ["Both sides are by the price list, whatever the log reports.", note]
        if unpriced:
            notes.append(f"{unpriced:,} requests have no list price and are left out.")
        return Computed(
            summary=f"What the requests of {names} would have cost on {to_model}.",
            statement=str(statement),
            rows=int(requests),
            scalars={**amounts, **scores},
            table=Table(_COLUMNS, ((names, to_model, *moved),)),
            notes=notes,
            missing=selection.absent("quality_score"),
        ).result(ctx, "reprice")

    def _target(self, selection: Selection, model: str) -> Pricing:
        """Return the rates of the model, as its maker or a provider in the data sells it.

        Raises:
            InvalidInput: `unknown_price`, the list does not have it.
        """
        providers = [None, *(provider for provider, _ in selection.dataset.models)]
        for provider in dict.fromkeys(providers):
            target = Pricing(
                self._data.prices, [(provider, model)], with_batch=selection.has("batch")
            )
            if target.knows_any:
                return target
        raise InvalidInput(
            "unknown_price", f"The price list does not know the model `{model}`; check its name."
        )


def _statement(
    selection: Selection, pricing: Pricing, target: Pricing, to_model: str, models: tuple[str, ...]
) -> Statement:
    places = Places()
    requests = requests_sql(places, selection.filters, selection.assume_model)
    to = places.put(to_model)
    named = f"coalesce(model, '{NO_VALUE}')"
    scope = (
        f"{named} in ({', '.join(places.put(m) for m in models)})" if models else f"{named} <> {to}"
    )
    costed = costed_sql(pricing, places, requests)
    sql = (
        f"{costed}, target as materialized ({target.table(places)}), "
        "moved as (select m.*, "
        f"{list_price('t', 'm')} as target_usd from (from costed where {scope}) m "
        f"join target t on {target.joins('t', 'm', on_model=False)}), "
        "moves as (select "
        "count(*) filter (list_usd is not null and target_usd is not null) as requests, "
        "sum(list_usd) filter (target_usd is not null) as current_usd, "
        "sum(target_usd) filter (list_usd is not null) as repriced_usd, "
        "count(*) filter (list_usd is null or target_usd is null) as unpriced, "
        f"{_SCORES} from moved) select * from moves, "
        f"(select {_SCORES} from requests where model = {to}) as there"
    )
    return Statement(sql, places.values)


def _saving(current: float, repriced: float) -> tuple[float, float | None]:
    saving = current - repriced
    return saving, saving / current if current else None


def _quality(to_model: str, measured: list[Any]) -> tuple[dict[str, tuple[Value, Unit, str]], str]:
    """Return the scores where both models have any, and what to say of them.

    `measured` is mean, variance and count of the scores now, then the three of the other model.
    The bounds of the loss are those of Welch's interval for a difference of means, by the normal
    approximation: below some thirty scores they are too narrow.
    """
    current, spread, samples, there, spread_there, samples_there = measured
    if current is None or there is None:
        return {}, _UNMEASURED.format(model=to_model)
    scores: dict[str, tuple[Value, Unit, str]] = {
        "quality_current": (current, Unit.RATIO, "mean quality score now"),
        "quality_target": (there, Unit.RATIO, f"mean quality score on {to_model}"),
        "quality_samples_target": (
            int(samples_there), Unit.REQUESTS, f"scored requests on {to_model}"
        ),
    }  # fmt: skip
    if spread is not None and spread_there is not None:
        error = _STANDARD_ERRORS * sqrt(spread / samples + spread_there / samples_there)
        loss = current - there
        scores |= {
            "quality_loss_least": (loss - error, Unit.RATIO, "loss of quality, at the least"),
            "quality_loss_most": (loss + error, Unit.RATIO, "loss of quality, at the most"),
            "quality_confidence": (CONFIDENCE, Unit.RATIO, "confidence of the loss's bounds"),
        }
    return scores, f"Quality is measured: requests on {to_model} in these data carry a score."
