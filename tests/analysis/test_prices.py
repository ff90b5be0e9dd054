"""Costs computed in SQL are those of the price list's own calculation, row by row."""

import datetime
import itertools
from pathlib import Path

import duckdb
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from tidings.analysis.cost import Places, Pricing, costed_sql, requests_sql
from tidings.analysis.prices import PriceList
from tidings.analysis.record import RECORD

PRICES = PriceList()
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-2.5-flash"),
    ("deepseek", "deepseek-chat"),
    ("azure", "gpt-4o"),
    (None, "gpt-4o"),
]
SIZES = [
    (0, 0, 0, 0),
    (1, 1, 0, 0),
    (1000, 200, 400, 0),
    (1000, 200, 400, 100),
    (200_000, 5000, 0, 0),
    (200_001, 5000, 150_000, 0),
    (900_000, 1, 0, 0),
]
TIMES = ["2024-01-01 00:30:00", "2025-03-01 16:29:59.999999", "2025-03-01 16:30:00",
         "2026-10-13 23:59:59.999999", "2026-10-14 00:00:00", "2026-11-15 12:00:00"]  # fmt: skip
Line = tuple[tuple[str | None, str], tuple[int, int, int, int], str, bool]
GRID: list[Line] = list(itertools.product(MODELS, SIZES, TIMES, (False, True)))


def in_sql(lines: list[Line], *, assume: str | None = None) -> list[float | None]:
    """Return the cost of each line, as tools compute it."""
    with duckdb.connect() as engine:
        columns = ", ".join(f"{f.name} {f.kind}" for f in RECORD)
        engine.execute(f"create table usage ({columns})")
        engine.executemany(
            "insert into usage (request_id, provider, model, input_tokens, output_tokens, "
            "cached_input_tokens, cache_write_tokens, ts, batch) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (f"{n:06d}", provider, model or None, *sizes, ts, str(batch).lower())
                for n, ((provider, model), sizes, ts, batch) in enumerate(lines)
            ],
        )
        pairs = [(provider, model or assume or "") for (provider, model), *_ in lines]
        pricing = Pricing(PRICES, pairs, with_batch=True)
        places = Places()
        sql = costed_sql(pricing, places, requests_sql(places, [], assume))
        rows = engine.execute(
            f"{sql} select cost_usd from costed order by request_id", places.values
        )
        return [row[0] for row in rows.fetchall()]


def by_the_list(line: Line) -> float:
    (provider, model), (size, output, cached, written), ts, batch = line
    return float(
        calc_price(
            Usage(
                input_tokens=size,
                output_tokens=output,
                cache_read_tokens=cached,
                cache_write_tokens=written,
            ),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime.datetime.fromisoformat(ts).replace(
                tzinfo=datetime.UTC
            ),
            price_context={"processing": "batch"} if batch else None,
        ).total_price
    )


def test_cost_in_sql_equals_the_price_lists_own() -> None:
    costs = in_sql(GRID)
    assert len(costs) == len(GRID)
    for line, cost in zip(GRID, costs, strict=True):
        assert cost == pytest.approx(by_the_list(line), rel=1e-9, abs=1e-15), line


def test_a_model_without_a_name_is_priced_as_the_one_assumed() -> None:
    line: Line = ((None, ""), (1000, 200, 0, 0), TIMES[-1], False)
    assumed: Line = ((None, "gpt-4o"), *line[1:])
    assert in_sql([line], assume="gpt-4o") == pytest.approx([by_the_list(assumed)])


def test_a_model_that_the_list_does_not_know_has_no_price() -> None:
    assert in_sql([(("openai", "gpt-nonsense-9000"), (10, 10, 0, 0), TIMES[0], False)]) == [None]
    pricing = Pricing(PRICES, [(None, "mystery"), ("openai", "gpt-4o")], with_batch=False)
    assert pricing.unknown == ("mystery",)


def test_tokens_that_contradict_each_other_have_no_price() -> None:
    assert in_sql([(("openai", "gpt-4o"), (10, 10, 400, 0), TIMES[0], False)]) == [None]


def test_a_provider_in_front_of_the_model_and_an_unknown_provider_are_understood() -> None:
    lines: list[Line] = [
        ((None, "openai/gpt-4o"), SIZES[2], TIMES[0], False),
        (("our-gateway", "gpt-4o"), SIZES[2], TIMES[0], False),
    ]
    expected = by_the_list((("openai", "gpt-4o"), SIZES[2], TIMES[0], False))
    assert in_sql(lines) == pytest.approx([expected, expected])


def test_every_model_of_the_list_can_be_looked_up() -> None:
    for provider in get_snapshot().providers[:12]:
        for model in provider.models:
            for rate in PRICES.rates(provider.id, model.id, batch=True):
                assert rate.input >= 0
                assert rate.day_from < rate.day_to


def test_names_from_the_data_are_values_and_never_sql(tmp_path: Path) -> None:
    hostile = "x'); drop table usage; --"
    assert in_sql([((hostile, hostile), (1, 1, 0, 0), TIMES[0], False)]) == [None]
