"""The tools over usage data: figures that can be checked by hand, and honest refusals."""

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tools.workshop import ALICE, Workshop, call, chunked, rows, run, scalars, with_log
from tidings.analysis.library import Library
from tidings.analysis.sandbox.pool import Sandbox
from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput, NotFound, TidingsError
from tidings.domain.facts import Unit
from tidings.domain.shapes import ARGUMENTS_BYTES_MAX

DATA = Path(os.environ.get("TIDINGS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
HEADER = (
    "ts,provider,model,feature,input_tokens,output_tokens,latency_ms,ttft_ms,status,error_code,"
    "attempt,prompt_hash,cost_reported,quality_score"
)
# 1 M input tokens of gpt-4o cost 2.50 USD, of gpt-4o-mini 0.15; output 10 and 0.60.
LOG = f"""{HEADER}
2024-06-03T00:00:10Z,openai,gpt-4o,chat,1000000,0,100,10,ok,,1,aa,,0.9
2024-06-03T00:00:20Z,openai,gpt-4o,chat,1000000,100000,200,20,ok,,1,aa,,0.8
2024-06-03T00:01:00Z,openai,gpt-4o-mini,chat,1000000,0,300,30,ok,,1,aa,,0.7
2024-06-03T02:00:00Z,openai,gpt-4o,search,2000000,0,400,40,error,timeout,1,bb,,
2024-06-03T02:00:30Z,openai,gpt-4o,search,2000000,0,500,50,ok,,2,bb,,
2024-06-03T02:05:00Z,other,mystery-1,search,10,10,600,60,ok,,1,cc,,
2024-06-03T02:06:00Z,other,mystery-1,,10,10,700,70,500,,1,,4.00,
"""
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,1000000,100000\n"


def refusal(root: Path, content: str, name: str, **arguments: Any) -> TidingsError:
    with pytest.raises(TidingsError) as refused:
        call(root, content, name, **arguments)
    return refused.value


def test_describe_data_counts_what_is_there_and_names_what_is_not(tmp_path: Path) -> None:
    result = call(tmp_path, LOG, "describe_data")
    told = scalars(result)
    assert (told["rows"], told["requests"], told["models"], told["features"]) == (7, 7, 3, 2)
    assert (told["input_tokens"], told["output_tokens"]) == (7_000_020, 100_020)
    assert told["first_ts"] == "2024-06-03T00:00:10.000000Z"
    coverage = {row["field"]: row["coverage"] for row in rows(result)}
    assert coverage["feature"] == pytest.approx(6 / 7)
    assert coverage["cached_input_tokens"] == 0
    assert "cached_input_tokens" in result.missing
    assert "model" not in result.missing


def test_spend_by_gives_cost_share_and_what_has_no_price(tmp_path: Path) -> None:
    result = call(tmp_path, LOG, "spend_by", dimensions=["feature", "model"])
    told = scalars(result)
    assert told["total_usd"] == pytest.approx(2.5 + 3.5 + 0.15 + 5 + 5 + 4)
    assert (told["requests"], told["priced_requests"], told["unpriced_requests"]) == (7, 6, 1)
    first = rows(result)[0]
    assert (first["feature"], first["model"], first["requests"]) == ("search", "gpt-4o", 2)
    assert first["cost_usd"] == pytest.approx(10)
    assert first["share"] == pytest.approx(10 / 20.15)
    assert first["cost_per_request_usd"] == pytest.approx(5)
    notes = " ".join(result.notes)
    assert "mystery-1" in notes
    assert "1 requests is as reported" in notes
    assert "5 requests is by the price list" in notes
    assert {row["feature"] for row in rows(result)} == {"chat", "search", "(none)"}


def test_filters_narrow_and_top_cuts(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        where = [{"field": "feature", "equals": "chat"}, {"field": "model", "equals": "gpt-4o"}]
        chat = await tools.call("spend_by", dimensions=["model"], where=where)
        assert scalars(chat)["total_usd"] == pytest.approx(6)
        none = await tools.call(
            "spend_by", dimensions=["model"], where=[{"field": "feature", "equals": "(none)"}]
        )
        assert scalars(none)["requests"] == 1
        cut = await tools.call("spend_by", dimensions=["model"], top=1)
        assert cut.table is not None
        assert (len(cut.table.rows), cut.table.truncated) == (1, True)
        assert scalars(cut)["requests"] == 7
        with pytest.raises(InvalidInput, match="feature = 'nope'"):
            await tools.call(
                "spend_by", dimensions=["model"], where=[{"field": "feature", "equals": "nope"}]
            )
        hostile = [{"field": "feature", "equals": "x' or '1'='1"}]
        with pytest.raises(InvalidInput, match="No request has"):
            await tools.call("spend_by", dimensions=["model"], where=hostile)

    with_log(tmp_path, LOG, scenario)


def test_every_figure_names_a_query_that_gives_it_again(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        result = await tools.call(
            "spend_by", dimensions=["model"], where=[{"field": "feature", "equals": "chat"}]
        )
        again = await tools.call("query", sql=result.source)
        assert rows(again)[0]["cost_usd"] == rows(result)[0]["cost_usd"]
        assert tools.facts["c1.total_usd"].source == result.source
        assert tools.facts["c1.total_usd"].rows == 3
        assert tools.facts["c1.r0.cost_usd"].unit is Unit.USD

    with_log(tmp_path, LOG, scenario)


def test_without_models_or_costs_spend_is_told_in_tokens_and_no_amount_is_made_up(
    tmp_path: Path,
) -> None:
    result = call(tmp_path, AZURE, "spend_over_time", period="minute")
    assert result.missing == ("model", "cost_reported")
    assert not any("usd" in name for name in scalars(result))
    assert [row["cost_usd"] for row in rows(result)] == [None]


def test_with_a_model_named_by_the_user_cost_follows_from_the_price_list(tmp_path: Path) -> None:
    result = call(tmp_path, AZURE, "spend_by", dimensions=["model"], assume_model="gpt-4o")
    assert scalars(result)["total_usd"] == pytest.approx(2.5 + 1.0)
    assert rows(result)[0]["model"] == "gpt-4o"
    assert any("priced as gpt-4o" in note for note in result.notes)


def test_spend_over_time_finds_the_busiest_period(tmp_path: Path) -> None:
    result = call(tmp_path, LOG, "spend_over_time", period="hour")
    told = scalars(result)
    assert told["peak_start"] == "2024-06-03T02:00:00Z"
    assert (told["peak_tokens"], told["peak_requests"]) == (4_000_040, 4)
    assert told["periods"] == 3
    assert told["mean_tokens"] == pytest.approx(7_100_040 / 3)
    assert [row["requests"] for row in rows(result)] == [3, 4]


@pytest.mark.parametrize("name", ["code", "conv"])
def test_the_busiest_minute_of_the_azure_traces_is_right(tmp_path: Path, name: str) -> None:
    path = DATA / f"AzureLLMInferenceTrace_{name}.csv"
    if not path.exists():
        pytest.skip(f"the public trace is not at {path}; set TIDINGS_TEST_DATA")
    minutes: Counter[str] = Counter()
    with path.open() as file:
        for row in csv.DictReader(file):
            minutes[row["TIMESTAMP"][:16]] += int(row["ContextTokens"]) + int(
                row["GeneratedTokens"]
            )
    [(minute, tokens)] = minutes.most_common(1)
    told = scalars(call(tmp_path, path.read_text(), "spend_over_time", period="minute"))
    assert told["peak_start"] == minute.replace(" ", "T") + ":00Z"
    assert told["peak_tokens"] == tokens


def test_token_distribution_gives_quantiles(tmp_path: Path) -> None:
    content = "model,input_tokens,output_tokens\n" + "".join(f"m,{n},1\n" for n in range(101))
    [whole] = rows(call(tmp_path, content, "token_distribution"))
    assert (whole["requests"], whole["input_p50"], whole["input_p90"]) == (101, 50, 90)
    assert (whole["input_mean"], whole["input_max"], whole["output_p99"]) == (50, 100, 1)


def test_latency_by_feature_gives_quantiles_and_speed(tmp_path: Path) -> None:
    result = call(tmp_path, LOG, "latency_by", dimension="feature")
    chat = next(row for row in rows(result) if row["feature"] == "chat")
    assert (chat["requests"], chat["p50_ms"], chat["ttft_p50_ms"]) == (3, 200, 20)
    assert chat["tokens_per_s"] == 0
    assert [row["requests"] for row in rows(result)] == [3, 3, 1]


def test_errors_and_retries_tell_what_failure_costs(tmp_path: Path) -> None:
    result = call(tmp_path, LOG, "errors_and_retries")
    told = scalars(result)
    assert (told["failed_requests"], told["retried_requests"]) == (2, 1)
    assert told["failed_share"] == pytest.approx(2 / 7)
    assert told["failed_cost_usd"] == pytest.approx(9)
    assert told["retry_cost_usd"] == pytest.approx(5)
    assert {row["error_code"]: row["requests"] for row in rows(result)} == {
        "timeout": 1,
        "(none)": 1,
    }


def test_a_log_without_failures_says_zero_and_one_without_the_fields_says_nothing(
    tmp_path: Path,
) -> None:
    fine = "model,status,input_tokens,output_tokens\ngpt-4o,ok,1,1\n"
    result = call(tmp_path, fine, "errors_and_retries")
    assert scalars(result)["failed_requests"] == 0
    assert scalars(result)["failed_cost_usd"] == 0
    assert "retried_requests" not in scalars(result)
    assert "attempt" in result.missing


def test_duplicates_are_equal_prompts_to_one_model_and_not_retries(tmp_path: Path) -> None:
    result = call(tmp_path, LOG, "duplicate_requests")
    told = scalars(result)
    assert told["duplicates"] == 1
    assert told["duplicate_cost_usd"] == pytest.approx(3.5)
    assert told["duplicate_share"] == pytest.approx(1 / 5)
    assert told["distinct_prompts"] == 4
    assert rows(result)[0]["feature"] == "chat"
    assert any("1 requests have no prompt_hash" in note for note in result.notes)


def test_a_log_without_duplicates_says_that_they_cost_nothing(tmp_path: Path) -> None:
    content = "model,feature,prompt_hash,input_tokens\ngpt-4o,a,x,1\ngpt-4o,a,y,1\n"
    result = call(tmp_path, content, "duplicate_requests")
    assert (scalars(result)["duplicates"], scalars(result)["duplicate_cost_usd"]) == (0, 0)
    assert rows(result)[0]["cost_usd"] == 0


def test_reprice_compares_list_price_with_list_price(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        result = await tools.call(
            "reprice",
            to_model="gpt-4o-mini",
            from_model="gpt-4o",
            where=[{"field": "feature", "equals": "chat"}],
        )
        told = scalars(result)
        assert told["requests"] == 2
        assert told["current_usd"] == pytest.approx(6)
        assert told["repriced_usd"] == pytest.approx(0.36)
        assert told["saving_usd"] == pytest.approx(5.64)
        assert told["saving_share"] == pytest.approx(0.94)
        assert told["quality_current"] == pytest.approx(0.85)
        assert (told["quality_target"], told["quality_samples_target"]) == (0.7, 1)

        unmeasured = await tools.call(
            "reprice", to_model="gpt-4o-mini", where=[{"field": "feature", "equals": "search"}]
        )
        assert scalars(unmeasured)["requests"] == 2
        assert "quality_target" not in scalars(unmeasured)
        assert any("quality on gpt-4o-mini is unmeasured" in note for note in unmeasured.notes)
        assert any("1 requests have no list price" in note for note in unmeasured.notes)

        with pytest.raises(InvalidInput) as refused:
            await tools.call("reprice", to_model="gpt-nonsense")
        assert refused.value.code == "unknown_price"
        with pytest.raises(InvalidInput) as refused:
            await tools.call("reprice", to_model="gpt-4o", from_model="mystery-1")
        assert refused.value.code == "no_match"

    with_log(tmp_path, LOG, scenario)


LACKING: list[tuple[str, dict[str, Any], list[str]]] = [
    ("latency_by", {}, ["latency_ms", "ttft_ms"]),
    ("duplicate_requests", {}, ["prompt_hash"]),
    ("errors_and_retries", {}, ["status", "error_code", "attempt"]),
    ("reprice", {"to_model": "gpt-4o"}, ["model"]),
    ("spend_by", {"dimensions": ["feature"]}, ["feature"]),
    ("spend_by", {"dimensions": ["feature", "region"]}, ["feature", "region"]),
    ("token_distribution", {"where": [{"field": "end_user", "equals": "x"}]}, ["end_user"]),
]
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("spend_by", {"dimensions": []}),
    ("spend_by", {"dimensions": ["model; drop table usage"]}),
    ("spend_by", {"dimensions": ["model"] * 4}),
    ("spend_by", {"dimensions": ["model"], "top": 0}),
    ("spend_by", {"dimensions": ["model"], "top": 10**9}),
    ("spend_by", {"dimensions": ["model"], "where": [{"field": "rowid", "equals": "1"}]}),
    ("spend_over_time", {"period": "century"}),
    ("query", {"sql": ""}),
    ("query", {"sql": "x" * 100_000}),
    ("chart", {"call_id": "c1", "kind": "pie", "x": "a", "y": "b", "title": "t"}),
]


def test_what_the_data_lack_is_named_and_never_made_up(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        for name, arguments, fields in LACKING:
            with pytest.raises(InvalidInput) as refused:
                await tools.call(name, **arguments)
            assert refused.value.code == "fields_missing", name
            assert all(f"`{field}`" in refused.value.message for field in fields), name

    with_log(tmp_path, AZURE, scenario)


def test_arguments_that_no_tool_takes_are_refused_before_the_call(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        for name, arguments in WRONG:
            with pytest.raises(InvalidInput) as refused:
                await tools.call(name, **arguments)
            large = len(str(arguments)) > ARGUMENTS_BYTES_MAX
            expected = "arguments_too_large" if large else "invalid_arguments"
            assert refused.value.code == expected, name

    with_log(tmp_path, AZURE, scenario)


def test_a_query_of_ones_own_gives_a_table_with_units(tmp_path: Path) -> None:
    sql = (
        "select feature, sum(input_tokens)::bigint as input_tokens, max(ts) as last, "
        "count(*) as n, 0.5 as share from usage group by 1 order by 1 nulls last"
    )
    result = call(tmp_path, LOG, "query", sql=sql)
    assert result.table is not None
    assert [column.unit for column in result.table.columns] == [
        Unit.NAME, Unit.TOKENS, Unit.TIME, Unit.COUNT, Unit.RATIO,
    ]  # fmt: skip
    assert rows(result)[0]["input_tokens"] == 3_000_000
    assert (result.source, result.rows) == (sql, 7)


def test_a_query_may_not_leave_the_data(tmp_path: Path) -> None:
    assert refusal(tmp_path, LOG, "query", sql="from '/etc/passwd'").code in {
        "sql_forbidden",
        "table_not_found",
    }


def test_a_chart_draws_an_earlier_table(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        await tools.call("spend_by", dimensions=["feature"])
        arguments = {"call_id": "c1", "kind": "bar", "x": "feature", "title": "Cost"}
        drawn = await tools.call("chart", y="cost_usd", **arguments)
        assert drawn.chart is not None
        assert drawn.chart["data"]["values"][0] == {"x": "search", "y": pytest.approx(10)}
        assert drawn.chart["encoding"]["x"]["type"] == "nominal"
        for wrong, code in (
            ({"y": "feature"}, "not_a_number"),
            ({"y": "beauty"}, "unknown_column"),
            ({"y": "cost_usd", "call_id": "c9"}, "unknown_table"),
            ({"y": "cost_usd", "call_id": "c2"}, "unknown_table"),
        ):
            with pytest.raises(InvalidInput) as refused:
                await tools.call("chart", **(arguments | wrong))
            assert refused.value.code == code

    with_log(tmp_path, LOG, scenario)


def test_a_tool_called_for_one_user_cannot_read_anothers_file(tmp_path: Path) -> None:
    async def scenario(library: Library, sandbox: Sandbox) -> None:
        bob = UserContext("t_1", "u_bob", "s_2")
        stored = await library.add(bob, "log.csv", chunked(LOG.encode()))
        tools = Workshop(library, sandbox, (stored.file_id,))
        for name, arguments in (("describe_data", {}), ("query", {"sql": "from usage"})):
            with pytest.raises(NotFound):
                await tools.call(name, **arguments)
        assert ALICE.user_id != bob.user_id

    run(tmp_path, scenario)


def test_files_are_analysed_together(tmp_path: Path) -> None:
    async def scenario(library: Library, sandbox: Sandbox) -> None:
        first = await library.add(ALICE, "a.csv", chunked(LOG.encode()))
        second = await library.add(ALICE, "b.csv", chunked(AZURE.encode()))
        tools = Workshop(library, sandbox, (first.file_id, second.file_id))
        assert scalars(await tools.call("describe_data"))["rows"] == 8

    run(tmp_path, scenario)


def test_every_tool_is_repeatable_and_says_what_it_does(tmp_path: Path) -> None:
    async def scenario(tools: Workshop) -> None:
        names = {name for name, _, _ in tools.catalogue.specs()}
        assert names == {
            "describe_data", "spend_by", "spend_over_time", "token_distribution", "latency_by",
            "errors_and_retries", "duplicate_requests", "reprice", "query", "chart", "calculate",
        }  # fmt: skip
        for name, description, schema in tools.catalogue.specs():
            assert tools.catalogue.repeatable(name)
            assert len(description) > 20
            assert schema["type"] == "object"

    with_log(tmp_path, LOG, scenario)
