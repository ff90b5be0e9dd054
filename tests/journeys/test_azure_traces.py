"""Real input: an hour of two production services, whose logs name no model, cost or latency."""

import csv
import os
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price

from tests.harness.server import ROOT, User
from tests.journeys.asking import Answered, ask

DATA = Path(os.environ.get("TIDINGS_TEST_DATA") or ROOT.parent / "shared" / "data")
MODEL = "gpt-4o"
VOLUME = "How many tokens do we use per minute, and which minute was the biggest?"
COST = "What did this cost us?"
MONEY = re.compile(
    r"[$€£¥]\s?\d|\d\s?(?:[$€£¥]|(?:usd|eur|dollars?|euros?|cents?)\b)", re.IGNORECASE
)


@dataclass(frozen=True)
class Trace:
    """A trace, and what is true of it: counted here from the file, without the product."""

    path: Path
    rows: list[tuple[datetime, int, int]]

    @property
    def input_tokens(self) -> int:
        return sum(row[1] for row in self.rows)

    @property
    def output_tokens(self) -> int:
        return sum(row[2] for row in self.rows)

    def minutes(self) -> Counter[str]:
        """Return the tokens of each minute from the first request to the last, idle ones too."""
        times = [row[0].replace(second=0, microsecond=0) for row in self.rows]
        span = (max(times) - min(times)) // timedelta(minutes=1)
        every = [min(times) + timedelta(minutes=n) for n in range(span + 1)]
        tokens = Counter({_minute(at): 0 for at in every})
        for at, read, written in self.rows:
            tokens[_minute(at)] += read + written
        return tokens

    def list_price(self, model: str) -> float:
        """Return the sum of each request's list price."""
        return float(
            sum(
                calc_price(
                    Usage(input_tokens=read, output_tokens=written),
                    model,
                    provider_id="openai",
                    genai_request_timestamp=at,
                ).total_price
                for at, read, written in self.rows
            )
        )


def read(name: str) -> Trace:
    path = DATA / f"AzureLLMInferenceTrace_{name}.csv"
    if not path.is_file():
        pytest.skip(f"there is no {path}; name the traces' folder by TIDINGS_TEST_DATA")
    with path.open(newline="") as file:
        rows = [
            (
                datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC),
                int(row["ContextTokens"]),
                int(row["GeneratedTokens"]),
            )
            for row in csv.DictReader(file)
        ]
    return Trace(path, rows)


@pytest.mark.parametrize(
    ("name", "rows", "millions"), [("code", 8_819, (18.06, 0.246)), ("conv", 19_366, (22.36, 4.09))]
)
def test_a_trace_is_imported_in_one_command_and_counted_exactly(
    user: User, name: str, rows: int, millions: tuple[float, float]
) -> None:
    trace = read(name)
    assert len(trace.rows) == rows
    assert trace.input_tokens == pytest.approx(millions[0] * 1e6, rel=0.001)
    assert trace.output_tokens == pytest.approx(millions[1] * 1e6, rel=0.002)

    answered = ask(user, VOLUME, trace.path)

    told = {
        name: answered.fact("describe_data", name)
        for name in ("requests", "input_tokens", "output_tokens")
    }
    counted = (rows, trace.input_tokens, trace.output_tokens)
    assert tuple(fact["value"] for fact in told.values()) == counted
    assert [fact["rows"] for fact in told.values()] == [rows] * 3
    for number in counted:
        assert f"{number:,}" in answered.answer

    minutes = trace.minutes()
    biggest, tokens = minutes.most_common(1)[0]
    assert answered.fact("spend_over_time", "peak_start")["value"].startswith(biggest)
    assert answered.fact("spend_over_time", "peak_tokens")["value"] == tokens
    mean = answered.fact("spend_over_time", "mean_tokens")
    assert mean["value"] == pytest.approx(sum(minutes.values()) / len(minutes))
    assert biggest.replace("T", " ") in answered.answer
    assert f"{tokens:,}" in answered.answer
    check_minutes(answered, minutes)


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M")


def check_minutes(answered: Answered, minutes: Counter[str]) -> None:
    """The chart's data are the tokens of every single minute in which there were requests."""
    [chart] = [c for c in answered.report["charts"] if "Tokens over time" in c["title"]]
    drawn = {row["x"][:16]: row["y"] for row in chart["spec"]["data"]["values"]}
    assert drawn == {minute: tokens for minute, tokens in minutes.items() if tokens}


def test_asked_for_cost_the_answer_says_what_is_missing_and_invents_nothing(user: User) -> None:
    answered = ask(user, COST, read("code").path)
    for field in ("model", "feature", "latency_ms", "status"):
        assert re.search(rf"^- `{field}`: .+ With it: \w+", answered.answer, re.MULTILINE), field
    assert "cost of every request" in answered.answer
    assert "no money" in answered.answer
    deltas = [e["payload"]["text"] for e in answered.events if e["type"] == "answer_delta"]
    shown = (answered.answer, "".join(deltas), answered.document("md"), answered.document("html"))
    for document in shown:
        assert not MONEY.search(document)
    assert not [f for f in answered.facts.values() if f["unit"].startswith("usd")]


def test_with_a_model_named_the_cost_follows_from_the_price_list_and_says_so(user: User) -> None:
    trace = read("code")
    answered = ask(user, f"{COST} These ran on {MODEL}.", trace.path)
    total = answered.fact("spend_by", "total_usd")
    assert total["value"] == pytest.approx(trace.list_price(MODEL), rel=1e-9)
    assert total["rows"] == len(trace.rows)
    assert total["unit"] == "usd"
    assert f"${total['value']:.2f}" in answered.answer
    assert f"you said it was {MODEL}" in answered.answer
    assert "list price" in answered.answer
    assert "not an invoice" in answered.answer
