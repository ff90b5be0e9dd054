"""A week of usage with planted findings: the report states each, with its true figure."""

import random
import re

import pytest

from tests.harness.server import User
from tests.journeys.asking import Answered, ask
from tidings.analysis.workload import Planted, generate, planted, write_csv

REQUESTS = 12_000
QUESTION = "Where does our money go, and how do we cut spend without losing quality?"
Planting = tuple[Answered, Planted]


@pytest.fixture(scope="module")
def planting(user: User, tmp_path_factory: pytest.TempPathFactory) -> Planting:
    requests = generate(random.Random(7), REQUESTS)
    path = tmp_path_factory.mktemp("planted") / "usage.csv"
    with path.open("w", newline="") as file:
        write_csv(requests, file)
    return ask(user, QUESTION, path), planted(requests)


def figures(pattern: str, text: str) -> list[float]:
    """Return the figures of a sentence as a reader sees them."""
    match = re.search(pattern, text)
    assert match is not None, pattern
    return [float(group.replace(",", "")) for group in match.groups()]


def test_the_feature_on_the_wrong_model_is_found(planting: Planting) -> None:
    answered, truth = planting
    sentence = (
        rf"Move {truth.dear_feature} from {truth.dear_model} to {truth.cheap_model}: "
        r"it saves \$([\d.,]+) of \$([\d.,]+)"
    )
    saving, cost = figures(sentence, answered.answer)
    assert saving == pytest.approx(truth.dear_saving_usd, rel=0.01)
    assert cost == pytest.approx(truth.dear_usd, rel=0.01)
    found = [f["value"] for f in answered.facts.values() if f["id"].endswith(".saving_usd")]
    assert pytest.approx(truth.dear_saving_usd, rel=0.01) in found
    requests = cell(answered, "requests", feature=truth.dear_feature, model=truth.dear_model)
    assert requests == truth.dear_requests
    advice = f"Move {truth.dear_feature} to {truth.cheap_model}"
    assert any(action.startswith(advice) for action in answered.report["next_actions"])


def test_the_feature_that_must_not_move_is_named(planting: Planting) -> None:
    answered, truth = planting
    sentence = (
        rf"Leave {truth.sensitive_feature} on {truth.sensitive_model}\.\*\* "
        rf"{truth.sensitive_cheap_model} would cost .* less, but its measured quality falls from "
        r"([\d.]+) % to ([\d.]+) %\. It must not move\."
    )
    before, after = figures(sentence, answered.answer)
    assert before - after > 10
    for action in answered.report["next_actions"]:
        assert f"Move {truth.sensitive_feature}" not in action


def test_prompts_paid_for_twice_are_counted(planting: Planting) -> None:
    answered, truth = planting
    [count] = figures(r"([\d,]+) requests \([\d.]+ %\) repeat a prompt", answered.answer)
    [cost] = figures(r"answered before: \$([\d.,]+) paid for nothing new", answered.answer)
    assert count == truth.duplicates
    assert cost == pytest.approx(truth.duplicate_usd, rel=0.01)
    assert answered.fact("duplicate_requests", "duplicates")["value"] == truth.duplicates
    price = answered.fact("duplicate_requests", "duplicate_cost_usd")["value"]
    assert price == pytest.approx(truth.duplicate_usd, rel=0.01)
    assert f"The dearest come from {truth.duplicate_feature}" in answered.answer


def test_what_retries_cost_is_told(planting: Planting) -> None:
    answered, truth = planting
    count, cost = figures(r"([\d,]+) were made again, for \$([\d.]+\d)", answered.answer)
    assert count == truth.retries
    assert cost == pytest.approx(truth.retry_usd, rel=0.01)
    fact = answered.fact("errors_and_retries", "retry_cost_usd")
    assert fact["value"] == pytest.approx(truth.retry_usd, rel=0.01)


def test_the_report_is_there_in_every_format_with_the_same_figures(planting: Planting) -> None:
    answered, truth = planting
    markdown, html = answered.document("md"), answered.document("html")
    saving = f"${truth.dear_saving_usd:.2f}"
    assert saving in markdown
    assert saving in html
    assert saving in answered.report["text"]
    assert html.startswith("<!doctype html>")
    assert html.count("<svg") == len(answered.report["charts"]) > 0
    assert "<script" not in html
    assert not re.search(r"(?:src|href)=[\"']?https?:", html)
    for fact_id in re.findall(r"\{\{fact:([^}]+)\}\}", answered.report["template"]):
        assert fact_id in html


def cell(answered: Answered, column: str, **where: str) -> object:
    """Return the value of a cell of the report's tables, by the names in its row."""
    for shown in answered.report["tables"]:
        names = [c["name"] for c in shown["table"]["columns"]]
        for row in shown["table"]["rows"]:
            cells = dict(zip(names, row, strict=True))
            if where.items() <= cells.items():
                return cells[column]
    raise AssertionError((column, where))
