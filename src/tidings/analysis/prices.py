"""What models cost, by the maintained price list of `genai-prices`, bundled: no network."""

import datetime
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise, product

import msgspec
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    PriceContext,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

MODELS_CACHED = 4096
DAY_ENDS = datetime.time.max

_BATCH = {"processing": "batch"}
_NEVER, _FOREVER = datetime.date(1970, 1, 1), datetime.date(9999, 12, 31)
_DAY_BEGINS = datetime.time(0)
_NO_LIMIT = 2**62
_MTOK = Decimal(1_000_000)


class Rate(msgspec.Struct, frozen=True):
    """What one token of each kind, and the request itself, cost in USD, and when that holds.

    It holds on the days `day_from <= day < day_to`, at the times `time_from <= time < time_to`
    UTC, for requests with `tokens_over < input tokens <= tokens_upto`.
    """

    input: Decimal
    cached: Decimal
    cache_write: Decimal
    output: Decimal
    reasoning: Decimal
    request: Decimal
    day_from: datetime.date = _NEVER
    day_to: datetime.date = _FOREVER
    time_from: datetime.time = _DAY_BEGINS
    time_to: datetime.time = DAY_ENDS
    tokens_over: int = -1
    tokens_upto: int = _NO_LIMIT

    @property
    def always(self) -> bool:
        """Tell whether it holds at every time and for every size."""
        return self == msgspec.structs.replace(
            self, day_from=_NEVER, day_to=_FOREVER, time_from=_DAY_BEGINS, time_to=DAY_ENDS,
            tokens_over=-1, tokens_upto=_NO_LIMIT,
        )  # fmt: skip


class PriceList:
    """Looks up the rates of models; a model it does not know has none.

    The list itself is read when the first model is looked up.
    """

    def __init__(self) -> None:
        self.rates = lru_cache(MODELS_CACHED)(self._rates)

    def _rates(self, provider: str | None, model: str, *, batch: bool) -> tuple[Rate, ...]:
        """Return the rates of a model, of which one holds for each request; empty if unknown.

        A provider that the list does not know is left aside; `provider/model` is understood.
        """
        found = self._find(provider, model)
        if found is None:
            return ()
        owner, known = found
        # As the list itself does: variants hold only where the model is the provider's own.
        own = any(known is listed for listed in owner.models)
        return tuple(_rates_of(known, _BATCH if batch and own else None))

    def _find(self, provider: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
        prefix, slash, rest = model.partition("/")
        for reference, name in (
            (model, provider),
            (rest, prefix if slash else None),
            (model, None),
        ):
            try:
                if reference:
                    return get_snapshot().find_provider_model(reference, None, name, None)
            except LookupError:
                continue
        return None


def _rates_of(model: ModelInfo, context: PriceContext | None) -> Iterator[Rate]:
    """Yield the rates of a model over all days, times of day and sizes of request."""
    if isinstance(model.prices, list) and not model.prices:
        return
    spans = [
        (day, time, _tiers(model.get_prices(_moment(day[0], time[0]), context)))
        for day, time in product(pairwise(_days(model)), pairwise(_times(model)))
    ]
    if spans and all(tiers == spans[0][2] for _, _, tiers in spans):
        spans = [((_NEVER, _FOREVER), (_DAY_BEGINS, DAY_ENDS), spans[0][2])]
    for day, time, tiers in spans:
        for rate in tiers:
            yield msgspec.structs.replace(
                rate, day_from=day[0], day_to=day[1], time_from=time[0], time_to=time[1]
            )


def _moment(day: datetime.date, time: datetime.time) -> datetime.datetime:
    return datetime.datetime.combine(day, time, datetime.UTC)


def _days(model: ModelInfo) -> list[datetime.date]:
    starts = {c.start_date for c in _constraints(model) if isinstance(c, StartDateConstraint)}
    return sorted({_NEVER, _FOREVER, *starts})


def _times(model: ModelInfo) -> list[datetime.time]:
    changes = {
        _utc(moment)
        for c in _constraints(model)
        if isinstance(c, TimeOfDateConstraint)
        for moment in (c.start_time, c.end_time)
    }
    return sorted({_DAY_BEGINS, DAY_ENDS, *changes})


def _constraints(
    model: ModelInfo,
) -> Iterator[StartDateConstraint | TimeOfDateConstraint | None]:
    if not isinstance(model.prices, ModelPrice):
        yield from (price.constraint for price in model.prices)
    yield from (variant.constraint for variant in model.price_variants or ())


def _utc(time: datetime.time) -> datetime.time:
    if time.tzinfo is None:
        return time
    return datetime.datetime.combine(_NEVER, time).astimezone(datetime.UTC).time()


def _tiers(price: ModelPrice) -> tuple[Rate, ...]:
    """Return the rates by size; a tier holds for the whole request once its input passes it."""
    known = {key: value for key, value in price.__dict__.items() if value is not None}
    if not {"input_mtok", "output_mtok"} & known.keys():
        return ()
    starts = {t.start for v in known.values() if isinstance(v, TieredPrices) for t in v.tiers}
    return tuple(
        _rate(known, over, upto) for over, upto in pairwise([-1, *sorted(starts), _NO_LIMIT])
    )


def _rate(known: dict[str, Decimal | TieredPrices], over: int, upto: int) -> Rate:
    def per_token(key: str, otherwise: Decimal) -> Decimal:
        return _at(known[key], over) / _MTOK if key in known else otherwise

    full = per_token("input_mtok", Decimal(0))
    output = per_token("output_mtok", Decimal(0))
    request = known.get("requests_kcount")
    return Rate(
        input=full,
        cached=per_token("cache_read_mtok", full),
        cache_write=per_token("cache_write_mtok", full),
        output=output,
        reasoning=per_token("output_reasoning_mtok", output),
        request=_at(request, over) / 1000 if request is not None else Decimal(0),
        tokens_over=over,
        tokens_upto=upto,
    )


def _at(price: Decimal | TieredPrices, over: int) -> Decimal:
    """Return the price of a request whose input is just larger than `over`."""
    if isinstance(price, Decimal):
        return price
    passed = [tier.price for tier in price.tiers if tier.start <= over]
    return passed[-1] if passed else price.base
