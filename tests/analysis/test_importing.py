"""Import: every usable row is kept, every other is counted with its reason, nothing is invented."""

import csv
import gzip
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import pytest
import zstandard

from tests.analysis.workbench import imported, run
from tidings.analysis.importing.report import Mapping
from tidings.analysis.sandbox.pool import Sandbox, SandboxLimits
from tidings.domain.errors import TidingsError

DATA = Path(os.environ.get("TIDINGS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
AZURE = [("code", 8_819, "18.06", "0.246"), ("conv", 19_366, "22.36", "4.09")]
CSV = b"timestamp,model,prompt_tokens,completion_tokens\n2024-01-01T00:00:00Z,gpt-4o,10,2\n"
zipped = partial(gzip.compress, mtime=0)  # the names of tests are made of it, and stay the same
TOTALS = "select count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint from usage"


@pytest.mark.parametrize(("name", "rows", "context", "generated"), AZURE)
def test_the_azure_traces_import_with_exact_totals(
    tmp_path: Path, name: str, rows: int, context: str, generated: str
) -> None:
    path = DATA / f"AzureLLMInferenceTrace_{name}.csv"
    if not path.exists():
        pytest.skip(f"the public trace is not at {path}; set TIDINGS_TEST_DATA")
    with path.open() as file:
        records = list(csv.DictReader(file))
    expected = (
        len(records),
        sum(int(r["ContextTokens"]) for r in records),
        sum(int(r["GeneratedTokens"]) for r in records),
    )
    report, [totals] = imported(tmp_path, path.name, path.read_bytes(), TOTALS)
    assert totals.rows == (expected,)
    assert (report.rows, report.rejected) == (rows, 0)
    assert f"{expected[1] / 1e6:.2f}" == context
    assert f"{expected[2] / 1e6:.{len(generated) - 2}f}" == generated
    assert report.first_ts == records[0]["TIMESTAMP"][:26].replace(" ", "T") + "Z"
    assert {"model", "latency_ms", "cost_reported"} <= set(report.missing)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("log.csv", bytes),
        ("log.csv.gz", gzip.compress),
        ("log.csv.zst", zstandard.ZstdCompressor().compress),
        ("log.tsv", lambda content: content.replace(b",", b"\t")),
        ("log", bytes),
        ("bom.csv", lambda content: b"\xef\xbb\xbf" + content),
        ("crlf.csv", lambda content: content.replace(b"\n", b"\r\n")),
        ("two-members.csv.gz", lambda c: gzip.compress(c[:20]) + gzip.compress(c[20:])),
    ],
)
def test_the_same_rows_come_from_every_text_form(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    report, [totals] = imported(tmp_path, name, pack(CSV), TOTALS)
    assert totals.rows == ((1, 10, 2),)
    assert report.columns[:2] == (
        Mapping("timestamp", "ts", "name"),
        Mapping("model", "model", "name"),
    )


def test_parquet_imports(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write_parquet(
        path,
        "timestamptz '2024-01-01 01:00:00+01' as ts, 'm' as model, 10::uinteger as input_tokens, "
        "2.0::float as output_tokens, {'a': 1} as extra, [1] as list, 1.5::decimal(9, 2) as cost",
    )
    sql = "select ts, input_tokens, output_tokens, extra, cost_reported from usage"
    report, [rows] = imported(tmp_path, path.name, path.read_bytes(), sql)
    assert rows.rows == (("2024-01-01T00:00:00Z", 10, 2, '{"a":1}', 1.5),)
    assert report.format == "parquet"


def test_nested_json_lines_are_found_by_their_paths_and_others_are_kept(tmp_path: Path) -> None:
    lines = [
        {"startTime": "2024-01-01T00:00:00Z", "endTime": "2024-01-01T00:00:02Z", "model": "gpt-4o",
         "usage": {"prompt_tokens": 10, "completion_tokens": 2,
                   "prompt_tokens_details": {"cached_tokens": 4}}, "spend": 0.5,
         "custom_llm_provider": "openai", "metadata": {"team": "blue"}},
        {"startTime": "2024-01-01T01:00:00Z", "model": "gpt-4o", "usage": {"prompt_tokens": 1}},
    ]  # fmt: skip
    content = "\n".join(json.dumps(line) for line in lines) + "\n{broken\n7\n\n"
    sql = (
        "select provider, input_tokens, cached_input_tokens, latency_ms, cost_reported, "
        '"metadata.team" from usage order by ts'
    )
    report, [rows] = imported(tmp_path, "log.jsonl", content.encode(), sql)
    assert rows.rows == (
        ("openai", 10, 4, 2000.0, 0.5, "blue"),
        (None, 1, None, None, None, None),
    )
    assert [(r.reason, r.rows) for r in report.rejections] == [("not a JSON object", 2)]
    assert Mapping("endTime - startTime", "latency_ms", "derived") in report.columns


def test_a_json_array_imports(tmp_path: Path) -> None:
    content = json.dumps([{"model": "m", "input_tokens": n} for n in range(3)], indent=1)
    _, [rows] = imported(tmp_path, "log.json", content.encode(), TOTALS)
    assert rows.rows == ((3, 3, None),)


def test_rows_that_cannot_be_used_are_counted_with_reasons(tmp_path: Path) -> None:
    content = (
        "ts,model,input_tokens,output_tokens\n"
        "2024-01-01,m,1,1\n"
        "yesterday,m,1,1\n"
        "2024-01-01,m,many,1\n"
        "2024-01-01,m,-5,1\n"
        "2024-01-01,m\n"
        "2024-01-01,m,1,1,9\n"
        "2024-01-01,m,,null\n"
    )
    report, [totals] = imported(tmp_path, "log.csv", content.encode(), TOTALS)
    assert totals.rows == ((2, 1, 1),)
    assert (report.rows, report.rejected) == (2, 5)
    assert {r.reason: r.rows for r in report.rejections} == {
        "missing columns": 1,
        "too many columns": 1,
        "ts is not a time": 1,
        "input_tokens is not a number of 0 or more": 2,
    }


@pytest.mark.parametrize(
    ("header", "value", "field", "expected"),
    [
        ("latency_ms", "1500", "latency_ms", 1500.0),
        ("latency_seconds", "1.5", "latency_ms", 1500.0),
        ("duration_us", "1500000", "latency_ms", 1500.0),
        ("latency", "1.5", "latency_ms", 1500.0),
        ("latency", "1500", "latency_ms", 1500.0),
        ("time_to_first_token_s", "0.5", "ttft_ms", 500.0),
        ("rating", "4", "quality_score", 0.8),
        ("quality_score", "0.8", "quality_score", 0.8),
        ("cost_cents", "150", "cost_reported", 1.5),
        ("created", "1700000000", "ts", "2023-11-14T22:13:20Z"),
        ("created", "1700000000000", "ts", "2023-11-14T22:13:20Z"),
        ("created", "1700000000000000", "ts", "2023-11-14T22:13:20Z"),
        ("ts", "2024-01-01T02:00:00+02:00", "ts", "2024-01-01T00:00:00Z"),
    ],
)
def test_units_are_understood(
    tmp_path: Path, header: str, value: str, field: str, expected: object
) -> None:
    content = f"model,{header}\nm,{value}\n".encode()
    _, [rows] = imported(tmp_path, "log.csv", content, f"select {field} from usage")
    assert rows.rows == ((expected,),)


def test_a_unit_that_is_guessed_is_told(tmp_path: Path) -> None:
    report, _ = imported(tmp_path, "log.csv", b"model,latency\nm,1.5\n")
    assert [(g.field, g.unit) for g in report.guesses] == [("latency_ms", "s")]


def test_cached_tokens_that_are_counted_apart_become_part_of_the_input(tmp_path: Path) -> None:
    content = (
        b"model,input_tokens,cache_read_input_tokens,cache_creation_input_tokens\nclaude,1,20,300\n"
    )
    report, [rows] = imported(tmp_path, "log.csv", content, "select input_tokens from usage")
    assert rows.rows == ((321,),)
    assert report.guesses[0].field == "input_tokens"


def test_unknown_columns_are_kept_and_never_hide_a_field(tmp_path: Path) -> None:
    content = b'prompt_tokens,Model,model name,notes,"we""ird"\n1,a,b,=1+1,x\n'
    sql = 'select model, "model name", notes, "we""ird" from usage'
    _, [rows] = imported(tmp_path, "log.csv", content, sql)
    assert rows.rows == (("a", "b", "=1+1", "x"),)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("log.csv", b"\x7fELF" + bytes(100), "file_type_mismatch"),
        ("log.csv", b"PK\x03\x04" + bytes(100), "file_type_mismatch"),
        ("log.csv", b"a,b\n" + bytes(100), "file_type_mismatch"),
        ("log.csv", "ts,model\n".encode("utf-16"), "file_type_mismatch"),
        ("log.parquet", CSV, "file_type_mismatch"),
        ("log.csv", b"PAR1" + bytes(100) + b"PAR1", "file_type_mismatch"),
        ("log.csv.gz", zipped(zipped(CSV)), "file_type_mismatch"),
        ("log.parquet", b"PAR1" + bytes(100) + b"PAR1", "file_unreadable"),
        ("log.parquet", b"PAR1" + bytes(100), "file_unreadable"),
        ("log.csv.gz", zipped(CSV)[:-9], "file_unreadable"),
        ("log.csv.zst", zstandard.ZstdCompressor().compress(CSV)[:-5], "file_unreadable"),
        ("bomb.csv.gz", zipped(b"a,model\n" + bytes(3 << 20)), "archive_limits"),
        ("log.csv", b"", "file_empty"),
        ("log.csv", b" \n", "file_empty"),
        ("log.csv", b"1,2,3\n4,5,6\n", "header_missing"),
        ("log.csv", b"model,input_tokens\n", "no_rows"),
        ("log.csv", b"colour,shape\nred,round\n", "no_usage_fields"),
        ("log.jsonl", b"{broken\n", "no_rows"),
        ("log.csv", b"x," * 600 + b"model\n", "too_many_columns"),
        ("log.csv", b"model,a\nm,1\nm," + b"x" * (5 << 20) + b"\n", "row_too_long"),
        ("log.csv", b"model" * (1 << 20) + b",a\n1,2\n", "row_too_long"),
    ],
)
def test_a_file_that_is_no_usage_log_is_refused_by_code(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    with pytest.raises(TidingsError) as refused:
        imported(tmp_path, name, content, expanded_bytes_max=1 << 20)
    assert refused.value.code == code
    assert str(tmp_path) not in refused.value.message


def test_the_row_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(TidingsError, match="Row 3 "):
        imported(tmp_path, "log.csv", b"model,a\nm,1\nm," + b"x" * (5 << 20) + b"\nm,1\n")


def test_an_unclosed_quote_costs_its_own_rows_only_in_a_small_file(tmp_path: Path) -> None:
    report, [totals] = imported(
        tmp_path, "log.csv", CSV + b'"2024,m,1,1\n2024-01-01,m,1,1\n', TOTALS
    )
    assert totals.rows == ((1, 10, 2),)
    assert report.rejected == 1


def test_bytes_that_are_no_utf8_are_rejected_by_row(tmp_path: Path) -> None:
    content = CSV + "2024-01-01,modèle,5,5\n".encode("latin-1") + CSV.splitlines()[1] + b"\n"
    report, [totals] = imported(tmp_path, "log.csv", content, TOTALS)
    assert totals.rows == ((2, 20, 4),)
    assert report.rejected == 1


@pytest.mark.parametrize("position", range(4, 400, 43))
def test_a_damaged_parquet_file_harms_nobody(tmp_path: Path, position: int) -> None:
    path = tmp_path / "log.parquet"
    write_parquet(path, "'m' as model, range as input_tokens from range(50)")
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 0xFF
    try:
        report, _ = imported(tmp_path, path.name, bytes(content))
        outcome = "imported" if report.rows <= 50 else "rows from nowhere"
    except TidingsError as error:
        outcome = error.code
    assert outcome in {"imported", "file_unreadable", "no_usage_fields", "file_type_mismatch"}


def test_a_reader_that_dies_is_told_as_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(CSV)
    starved = SandboxLimits(address_space_bytes=64 << 20)

    async def scenario(sandbox: Sandbox) -> None:
        await sandbox.load(
            tmp_path / "upload", "log.csv", tmp_path / "usage.duckdb", expanded_bytes_max=1 << 20
        )

    with pytest.raises(TidingsError) as refused:
        run(tmp_path, scenario, starved)
    assert refused.value.code in {"file_unreadable", "import_resource_limit"}


def write_parquet(path: Path, columns: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"copy (select {columns}) to '{path}' (format parquet)")
