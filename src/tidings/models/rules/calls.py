"""Which tools to call next, by the question and by what was found: the planner's analysis."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tidings.domain.facts import Unit
from tidings.models.port import ToolCall
from tidings.models.rules.case import Case
from tidings.models.rules.evidence import Row
from tidings.models.rules.savings import Verdict, chosen, moves
from tidings.models.tasks import AnalysisTask, Called, Family

REPRICINGS_MAX = 8
CANDIDATES_MAX = 2
SHARE_WORTH_REPRICING = 0.03
CHEAPER_BY = 0.8  # a model counts as cheaper when a token costs less than this share
MONTH_DAYS = 30

MONTHLY_SPEND = "Spend in a month at this pace"
DAILY_SPEND = "Spend in a day, were every hour like these"
SAVING = "Saving of the safe moves and without the duplicates"
MONTHLY_SAVING = "Saving in a month at this pace"
GROWN_SPEND = "Spend in a month after the growth"
GROWN_PEAK = "Tokens in the biggest minute after the growth"
GROWN_REQUESTS = "Requests in the biggest minute after the growth"
WANTED_SPEND = "Spend after the cut you want"
WANTED_LATENCY = "The slowest latency after the speed-up you want"


class Wish(NamedTuple):
    """A call worth making, and what for."""

    tool: str
    arguments: dict[str, Any]
    purpose: str


Look = Callable[[Case], Iterator[Wish]]


def next_calls(task: AnalysisTask) -> tuple[ToolCall, ...]:
    """Return the calls that are worth making now and were not made; none when all is known.

    Sums and charts wait until nothing is left to dig for.
    """
    case = Case.of(task)
    made = {_key(call.tool, call.arguments) for call in task.calls}
    for looks in (PLANS[case.family], CLOSING):
        fresh: dict[str, Wish] = {}
        for wish in (wish for look in looks for wish in look(case)):
            fresh.setdefault(_key(wish.tool, wish.arguments), wish)
        wishes = [wish for key, wish in fresh.items() if key not in made]
        if wishes:
            return tuple(_call(number, w) for number, w in enumerate(wishes, len(task.calls) + 1))
    return ()


def _key(tool: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps([tool, arguments], sort_keys=True, default=str)


def _call(number: int, wish: Wish) -> ToolCall:
    return ToolCall(f"p{number}", wish.tool, {**wish.arguments, "purpose": wish.purpose})


def _spend(case: Case) -> Iterator[Wish]:
    if case.can_price or (case.has_tokens and (case.group or case.has("model"))):
        purpose = "See what each part costs" if case.can_price else "See what each part uses"
        yield Wish("spend_by", {"dimensions": case.dimensions, **case.assumed}, purpose)


def _rhythm(case: Case) -> Iterator[Wish]:
    if case.has("ts"):
        purpose = f"Follow the volume {case.period} by {case.period} and find the peak"
        yield Wish("spend_over_time", {"period": case.period, **case.assumed}, purpose)


def _minutes(case: Case) -> Iterator[Wish]:
    if case.has("ts"):
        purpose = "Find the biggest minute, which is what rate limits see"
        yield Wish("spend_over_time", {"period": "minute", **case.assumed}, purpose)


def _sizes(case: Case) -> Iterator[Wish]:
    if case.has_tokens:
        yield Wish("token_distribution", _by(case.group), "See how long prompts and answers are")


def _duplicates(case: Case) -> Iterator[Wish]:
    if case.has("prompt_hash"):
        arguments = {"dimension": case.group or "model", **case.assumed}
        yield Wish("duplicate_requests", arguments, "Find prompts that were paid for again")


def _failures(case: Case) -> Iterator[Wish]:
    if case.has("error_code") or case.has("status") or case.has("attempt"):
        by_status = case.has("status") and not case.has("error_code")
        dimension = "status" if by_status else "error_code"
        arguments = {"dimension": dimension, **case.assumed}
        yield Wish("errors_and_retries", arguments, "See what failed and repeated calls cost")


def _waits(case: Case) -> Iterator[Wish]:
    if case.has("latency_ms"):
        yield Wish("latency_by", _by(case.group), "See how long users wait, part by part")


def _waits_by_model(case: Case) -> Iterator[Wish]:
    if case.has("latency_ms") and case.has("model"):
        yield Wish("latency_by", _by("model"), "See how fast each model answers")


def _waits_of_limited(case: Case) -> Iterator[Wish]:
    if case.constraints.features:
        yield from _waits(case)
        yield from _waits_by_model(case)


def _moves(case: Case) -> Iterator[Wish]:
    """Reprice what costs most to the cheaper models of the same workload, and those named."""
    if not case.priced or not case.has("model"):
        return
    made = 0
    for row in case.spending_rows():
        if row.amount("cost_usd") < SHARE_WORTH_REPRICING * case.spent_usd:
            continue
        for model in _cheaper(case, row):
            if made == REPRICINGS_MAX:
                return
            made += 1
            yield _repricing(case, row, model)


def _repricing(case: Case, row: Row, model: str) -> Wish:
    arguments: dict[str, Any] = {"to_model": model, "from_model": row.cells["model"]}
    scope = row.cells.get(case.group) if case.group else None
    if scope is not None:
        arguments["where"] = [{"field": case.group, "equals": scope}]
    purpose = f"Price {scope or 'these requests'} on {model}, and compare the quality"
    return Wish("reprice", arguments, purpose)


def _cheaper(case: Case, row: Row) -> list[str]:
    """Return cheaper models for a row's requests: those its feature already uses first."""
    per_token = _cost_per_token(case)
    own = str(row.cells.get("model"))
    if own not in per_token:
        return []
    cheaper = [m for m, cost in per_token.items() if cost < CHEAPER_BY * per_token[own]]
    used = {
        str(other.cells.get("model"))
        for other in (case.spend.rows if case.spend else ())
        if case.group and other.cells.get(case.group) == row.cells.get(case.group)
    }
    ranked = sorted(cheaper, key=lambda model: (model not in used, per_token[model], model))
    named = [m for m in case.constraints.models if m != own and m not in ranked]
    return [*named, *ranked][:CANDIDATES_MAX]


def _cost_per_token(case: Case) -> dict[str, float]:
    cost: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for row in case.spend.rows if case.spend else ():
        model = row.cells.get("model")
        if isinstance(model, str) and row.amount("cost_usd") > 0:
            cost[model] = cost.get(model, 0) + row.amount("cost_usd")
            size = row.amount("input_tokens") + row.amount("output_tokens")
            tokens[model] = tokens.get(model, 0) + size
    return {model: cost[model] / tokens[model] for model in cost if tokens[model] > 0}


def _compared(case: Case) -> Iterator[Wish]:
    """Price the workload on each model that the user considers."""
    if case.can_price and case.has("model"):
        for model in case.constraints.models:
            yield Wish("reprice", {"to_model": model}, f"Price this workload on {model}")


def _unmodelled(case: Case) -> Iterator[Wish]:
    """Price requests that carry no model on each that the user named, against the first of them."""
    models = case.constraints.models
    if case.has("model") or not case.has_tokens or not models:
        return
    base = case.constraints.assume_model or models[0]
    for model in models:
        if model != base:
            arguments = {"to_model": model, "assume_model": base}
            yield Wish("reprice", arguments, f"Price these requests on {model}, not {base}")


def _quality(case: Case) -> Iterator[Wish]:
    if case.has("quality_score") and case.has("model"):
        sql = (
            "select model, count(*) as requests, avg(quality_score) as quality_share from usage "
            "where quality_score is not null group by model order by requests desc limit 20"
        )
        yield Wish("query", {"sql": sql}, "Compare the measured quality of the models")


def _cache(case: Case) -> Iterator[Wish]:
    if case.has("cached_input_tokens"):
        by = case.group or "model"
        sql = (
            f"select {by}, count(*) as requests, sum(input_tokens) as input_tokens, "  # noqa: S608
            "sum(cached_input_tokens) as cached_input_tokens, "
            "sum(cached_input_tokens) / nullif(sum(input_tokens), 0) as cached_share "
            f"from usage group by {by} order by input_tokens desc limit 20"
        )
        yield Wish("query", {"sql": sql}, "See how much of each prompt the cache already serves")


def _sums(case: Case) -> Iterator[Wish]:
    if not case.priced or not case.data or not case.spend or case.days <= 0:
        return
    total, days = f"{case.spend.id}.total_usd", f"{case.data.id}.days"
    if case.days >= 1:
        yield _sum(f"{total} / {days} * {MONTH_DAYS}", MONTHLY_SPEND, "Look a month ahead")
    else:
        yield _sum(f"{total} / {days}", DAILY_SPEND, "Look a day ahead")
    yield from _saving_sums(case, days)


def _saving_sums(case: Case, days: str) -> Iterator[Wish]:
    formula = _saving_formula(case)
    if formula:
        yield _sum(formula, SAVING, "Add up what can be saved without counting anything again")
    saving = case.total(SAVING)
    if saving and case.days >= 1:
        yield _sum(f"{saving.id}.value / {days} * {MONTH_DAYS}", MONTHLY_SAVING, "Look ahead")


def _saving_formula(case: Case) -> str:
    """Return the sum of safe savings; a duplicate of a moved request is saved only once."""
    safe = chosen(moves(case.evidence), Verdict.SAFE)
    terms = [f"{move.found.id}.saving_usd" for move in safe]
    duplicates = case.duplicates
    if duplicates and duplicates.amount("duplicate_cost_usd") > 0:
        formula = " + ".join([*terms, f"{duplicates.id}.duplicate_cost_usd"])
        for move in safe:
            for row in duplicates.rows:
                same = move.scope is not None and row.cells.get(case.group or "") == move.scope
                if same and row.amount("cost_usd"):
                    formula += f" - {row.fact('cost_usd')} * {move.found.id}.saving_share"
        return formula
    return " + ".join(terms)


def _growth_sums(case: Case) -> Iterator[Wish]:
    growth = case.constraints.growth
    minutes = case.evidence.one("spend_over_time", period="minute")
    if growth is None:
        return
    factor = f"{1 + growth:g}"
    month = case.total(MONTHLY_SPEND)
    if month:
        yield _sum(f"{month.id}.value * {factor}", GROWN_SPEND, "Grow the spend")
    if minutes:
        peaks = (
            (GROWN_PEAK, "peak_tokens", Unit.TOKENS),
            (GROWN_REQUESTS, "peak_requests", Unit.REQUESTS),
        )
        for label, name, unit in peaks:
            yield _sum(f"{minutes.id}.{name} * {factor}", label, "Grow the peak", unit)


def _sum(expression: str, label: str, purpose: str, unit: Unit = Unit.USD) -> Wish:
    return Wish(
        "calculate", {"expression": expression, "unit": unit.value, "label": label}, purpose
    )


def _charts(case: Case) -> Iterator[Wish]:
    if case.priced and case.spend and len(case.spend.rows) > 1:
        by = case.dimensions[0]
        yield _chart(case.spend.call, "bar", by, "cost_usd", f"Cost by {by.replace('_', ' ')}")
    waits = case.evidence.one("latency_by")
    by = str(waits.call.arguments.get("dimension")) if waits else ""
    if waits and case.family is Family.SPEED and len(waits.rows) > 1:
        title = f"p95 latency by {by.replace('_', ' ')}"
        yield _chart(waits.call, "bar", by, "p95_ms", title)
    if case.rhythm and len(case.rhythm.rows) > 1 and not case.rhythm.truncated:
        y = "cost_usd" if case.priced else "tokens"
        title = "Cost over time" if case.priced else "Tokens over time"
        yield _chart(case.rhythm.call, "line", "start", y, title)


def _chart(call: Called, kind: str, x: str, y: str, title: str) -> Wish:
    arguments = {"call_id": call.call_id, "kind": kind, "x": x, "y": y, "title": title}
    return Wish("chart", arguments, f"Draw: {title.lower()}")


def _by(dimension: str | None) -> dict[str, Any]:
    return {"dimension": dimension} if dimension else {}


def _wants(case: Case) -> Iterator[Wish]:
    """Turn the cut or the speed-up that the user wants into an amount."""
    wanted, slowest = case.constraints, case.slowest()
    if wanted.cost_cut and case.priced and case.spend:
        formula = f"{case.spend.id}.total_usd * {1 - wanted.cost_cut:g}"
        yield _sum(formula, WANTED_SPEND, "See what the wanted cut means")
    if wanted.latency_factor and slowest:
        formula = f"{slowest.fact('p95_ms')} / {wanted.latency_factor:g}"
        yield _sum(formula, WANTED_LATENCY, "See what the wanted speed-up means", Unit.MS)


_MONEY: tuple[Look, ...] = (
    _spend,
    _rhythm,
    _sizes,
    _duplicates,
    _failures,
    _waits_of_limited,
    _moves,
    _unmodelled,
)

PLANS: Mapping[Family, tuple[Look, ...]] = {
    Family.CUT_COST: _MONEY,
    Family.SPEND: _MONEY,
    Family.FEATURE_COST: _MONEY,
    Family.MOVE_MODELS: (_spend, _waits_by_model, _quality, _moves),
    Family.SPEED: (_waits, _waits_by_model, _sizes, _rhythm, _failures),
    Family.GROWTH: (_spend, _rhythm, _minutes),
    Family.COMPARE_MODELS: (_spend, _compared, _unmodelled, _waits_by_model, _quality),
    Family.CACHING: (_spend, _cache, _duplicates, _sizes),
    Family.TRADE_OFF: (*_MONEY, _waits, _waits_by_model, _minutes),
    Family.UPGRADE_REVIEW: (_rhythm, _spend, _waits_by_model, _failures, _quality),
    Family.CHANGES: (_rhythm, _spend, _failures),
    Family.ANOMALIES: (_rhythm, _failures, _duplicates, _sizes, _spend),
    Family.OVERVIEW: (*_MONEY, _waits),
    Family.OTHER: (),
}
CLOSING: tuple[Look, ...] = (_sums, _growth_sums, _wants, _charts)
