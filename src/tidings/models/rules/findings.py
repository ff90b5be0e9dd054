"""What the results mean, in sentences around facts, each with its weight."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tidings.models.rules import calls
from tidings.models.rules.case import Case
from tidings.models.rules.evidence import Found, Row
from tidings.models.rules.savings import UNTESTED, Move, Verdict, chosen, moves
from tidings.models.tasks import Family

SHOWN_MAX = 3
UNTESTED_WEIGHT = 0.1  # money that a test must still confirm comes after money that is sure
WASTE_SHARE_MIN = 0.005  # duplicates and failures below this share of the spend are not news
LONG_PROMPT_RATIO = 20.0  # input over output tokens from which a prompt counts as long


class Finding(NamedTuple):
    """A sentence or two, what to do about it, and the money (or time) behind it."""

    weight: float
    text: str
    action: str = ""


def findings(case: Case) -> list[Finding]:
    """Return what was found, weightiest first; nothing that rests on a figure without a value."""
    holds = case.evidence.holds
    found = [f for look in _LOOKS for f in look(case) if holds(f.text) and holds(f.action)]
    return sorted(found, key=lambda finding: -finding.weight)


def scope_name(case: Case, move: Move) -> str:
    """Return the placeholder that names whose requests a move is about."""
    if case.group and case.spend:
        for row in case.spend.rows:
            if row.cells.get(case.group) == move.scope:
                return row.ref(case.group)
    return "this workload"


def _safe_moves(case: Case) -> Iterator[Finding]:
    for move in chosen(moves(case.evidence), Verdict.SAFE):
        scope, row, found = scope_name(case, move), move.row, move.found
        to = row.ref("to_model")
        yield Finding(
            move.saving,
            f"**Move {scope} from {_from(case, move)} to {to}: it saves "
            f"{found.ref('saving_usd')} of {found.ref('current_usd')} "
            f"({found.ref('saving_share')}).** The measured quality is "
            f"{found.ref('quality_target')} there against {found.ref('quality_current')} today, "
            f"over {found.ref('quality_samples_target')} scored requests: at worst "
            f"{found.ref('quality_loss_most')} is lost, with {found.ref('quality_confidence')} "
            f"confidence.{_latency_note(case, move)}",
            f"Move {scope} to {to}: begin with a small share of its traffic, watch "
            "`quality_score`, then the rest.",
        )


def _untested_moves(case: Case) -> Iterator[Finding]:
    if case.family is Family.COMPARE_MODELS:
        return
    candidates = moves(case.evidence)
    untested = [move for verdict in UNTESTED for move in chosen(candidates, verdict)]
    for move in untested[:SHOWN_MAX]:
        scope, row, found = scope_name(case, move), move.row, move.found
        to = row.ref("to_model")
        yield Finding(
            move.saving * UNTESTED_WEIGHT,
            f"**{_capital(scope)} would cost {found.ref('saving_usd')} less on {to}** than on "
            f"{_from(case, move)}. {_doubt(move)}{_latency_note(case, move)}",
            f"Test {scope} on {to}: replay a sample of its requests on both models, score the "
            "answers the same way, log `quality_score`, and move it only if they are as good.",
        )


def _doubt(move: Move) -> str:
    found = move.found
    if move.verdict is Verdict.UNMEASURED:
        return (
            "This is price only: its quality there is unmeasured, so it is a test to run and not "
            "a saving yet."
        )
    return (
        f"Its measured quality there is {found.ref('quality_target')} against "
        f"{found.ref('quality_current')} today, but {found.ref('quality_samples_target')} scored "
        f"requests are too few to be sure: up to {found.ref('quality_loss_most')} may be lost."
    )


def _unsafe_moves(case: Case) -> Iterator[Finding]:
    if case.family is Family.COMPARE_MODELS:
        return
    for move in chosen(moves(case.evidence), Verdict.WORSE):
        row, found = move.row, move.found
        yield Finding(
            0.0,
            f"**Leave {scope_name(case, move)} on {_from(case, move)}.** "
            f"{row.ref('to_model')} would cost {found.ref('saving_usd')} less, but its measured "
            f"quality falls from {found.ref('quality_current')} to {found.ref('quality_target')}. "
            "It must not move.",
        )


def _from(case: Case, move: Move) -> str:
    """Return whose work would move; of many models none is named."""
    if move.from_model:
        return move.row.ref("from_model")
    return case.constraints.assume_model or "what serves them today"


def _latency_note(case: Case, move: Move) -> str:
    """Say how long both models take, when the user set a limit for this feature."""
    limits = [f for f in case.constraints.features if f.feature == move.scope]
    waits = case.evidence.one("latency_by", dimension="model")
    if not limits or waits is None:
        return ""
    rows = {row.cells.get("model"): row for row in waits.rows}
    before, after = rows.get(move.from_model), rows.get(move.to_model)
    if before is None or after is None:
        return " How fast the other model would answer is not in these data."
    slower = after.amount("p95_ms") - before.amount("p95_ms")
    fits = "keeps" if slower <= limits[0].extra_ms else "**breaks**"
    return (
        f" Its p95 latency is {after.ref('p95_ms')} on the new model and {before.ref('p95_ms')} on "
        f"the present one, over all features: this {fits} the limit you set."
    )


def _duplicates(case: Case) -> Iterator[Finding]:
    found = case.duplicates
    if found is None or not found.amount("duplicates"):
        return
    cost = found.amount("duplicate_cost_usd")
    if case.priced and cost < WASTE_SHARE_MIN * case.spent_usd:
        return
    text = (
        f"**{found.ref('duplicates')} requests ({found.ref('duplicate_share')}) repeat a prompt "
        "that had been answered before"
    )
    text += f": {found.ref('duplicate_cost_usd')} paid for nothing new.**" if cost else ".**"
    most = _most(found, "cost_usd" if cost else "duplicates")
    by = str(found.call.arguments.get("dimension", "feature"))
    where = "them"
    if most is not None and most.named(by):
        where = most.ref(by)
        text += f" The dearest come from {where}: {most.ref('duplicates')} repeats."
    yield Finding(
        cost,
        text,
        f"Keep the answers of {where} by prompt hash, and serve a repeat from there; decide how "
        "long an answer stays fresh.",
    )


def _failures(case: Case) -> Iterator[Finding]:
    found = case.failures
    if found is None or not (found.amount("failed_requests") or found.amount("retried_requests")):
        return
    cost = found.amount("failed_cost_usd") + found.amount("retry_cost_usd")
    if (
        case.priced
        and cost < WASTE_SHARE_MIN * case.spent_usd
        and case.family is not Family.ANOMALIES
    ):
        return
    by = str(found.call.arguments.get("dimension", "error_code"))
    named = next((row for row in found.rows if row.named(by)), None)
    text = f"**{'; '.join(_failed(found))}.**"
    if named is not None:
        text += f" The most frequent reason is {named.ref(by)}: {named.ref('requests')} requests."
    reason = f" of {named.ref(by)}" if named is not None else ""
    yield Finding(
        cost,
        text,
        f"Mend the cause{reason} first; then retry later and less often, with growing pauses and "
        "a limit.",
    )


def _failed(found: Found) -> Iterator[str]:
    if found.amount("failed_requests"):
        text = f"{found.ref('failed_requests')} requests failed ({found.ref('failed_share')})"
        paid = f" and cost {found.ref('failed_cost_usd')}"
        yield text + (paid if found.amount("failed_cost_usd") else "")
    if found.amount("retried_requests"):
        text = f"{found.ref('retried_requests')} were made again"
        paid = f", for {found.ref('retry_cost_usd')}"
        yield text + (paid if found.amount("retry_cost_usd") else "")


def _waits(case: Case) -> Iterator[Finding]:
    for found in case.evidence.all("latency_by"):
        by = found.call.arguments.get("dimension")
        rows = [row for row in found.rows if row.cells.get("p95_ms") is not None]
        if not rows:
            continue
        if by is None:
            yield Finding(_urgency(case, rows[0].amount("p95_ms")), _wait("A request", rows[0]))
        elif by != "model":
            yield from _slowest(case, rows, str(by))
        elif len(rows) > 1:
            yield _fastest_model(case, rows)


def _slowest(case: Case, rows: list[Row], by: str) -> Iterator[Finding]:
    ranked = sorted(rows, key=lambda row: -row.amount("p95_ms"))
    count = SHOWN_MAX if case.family is Family.SPEED else 1
    for row in ranked[:count]:
        yield Finding(
            _urgency(case, row.amount("p95_ms")),
            _wait(f"**{row.ref(by)}**", row),
            f"Shorten the answers of {row.ref(by)}, or stream them: the wait grows with every "
            "token written."
            if case.family is Family.SPEED
            else "",
        )


def _urgency(case: Case, milliseconds: float) -> float:
    """Return the weight of a wait: what a question about speed ranks by."""
    return milliseconds if case.family is Family.SPEED else 0.0


def _wait(who: str, row: Row) -> str:
    text = f"{who} takes {row.ref('p50_ms')} at the median and {row.ref('p95_ms')} at p95"
    if row.cells.get("ttft_p50_ms") is not None:
        text += f". The first word comes after {row.ref('ttft_p50_ms')}"
    if row.cells.get("tokens_per_s") is not None:
        text += f", then it writes {row.ref('tokens_per_s')}"
    return text + "."


def _fastest_model(case: Case, rows: list[Row]) -> Finding:
    ranked = sorted(rows, key=lambda row: row.amount("p50_ms"))
    fast, slow = ranked[0], ranked[-1]
    return Finding(
        _urgency(case, fast.amount("p50_ms")),
        f"{fast.ref('model')} answers fastest, {fast.ref('p50_ms')} at the median; "
        f"{slow.ref('model')} takes {slow.ref('p50_ms')}. They may not have had the same requests.",
        f"Try {fast.ref('model')} for what {slow.ref('model')} need not write: send a small share "
        "of the requests there, and compare latency and quality."
        if case.family is Family.SPEED
        else "",
    )


def _long_prompts(case: Case) -> Iterator[Finding]:
    found = case.evidence.one("token_distribution")
    by = found.call.arguments.get("dimension") if found else None
    long = [r for r in found.rows if _ratio(r) >= LONG_PROMPT_RATIO] if found and by else []
    if not long:
        return
    row = max(long, key=lambda r: r.amount("input_mean") * r.amount("requests"))
    yield Finding(
        0.0,
        f"{row.ref(str(by))} reads {row.ref('input_mean')} tokens to write "
        f"{row.ref('output_mean')}, on average.",
        f"Shorten the prompt of {row.ref(str(by))}, or let the provider cache its fixed beginning.",
    )


def _ratio(row: Row) -> float:
    written = row.amount("output_mean")
    return row.amount("input_mean") / written if written else 0.0


def _peak(case: Case) -> Iterator[Finding]:
    found = case.rhythm
    if found is None or not found.has("peak_start"):
        return
    period = found.call.arguments["period"]
    yield Finding(
        0.0,
        f"The biggest {period} began at {found.ref('peak_start')}: {found.ref('peak_tokens')} "
        f"tokens in {found.ref('peak_requests')} requests, against {found.ref('mean_tokens')} "
        f"tokens in an average {period}.",
    )


def _growth(case: Case) -> Iterator[Finding]:
    month, grown = case.total(calls.MONTHLY_SPEND), case.total(calls.GROWN_SPEND)
    if month and grown:
        yield Finding(
            grown.amount("value"),
            f"**After this growth a month costs {grown.ref('value')}, instead of "
            f"{month.ref('value')} at today's pace**, with the same mix of features and models.",
        )
    tokens, requests = case.total(calls.GROWN_PEAK), case.total(calls.GROWN_REQUESTS)
    if tokens and requests:
        yield Finding(
            1.0,
            f"The biggest minute would hold {tokens.ref('value')} tokens and "
            f"{requests.ref('value')} requests: these are what your rate limits must allow.",
            "Compare that minute with the tokens and requests per minute that your provider "
            "grants you, and ask for more before the growth comes.",
        )


def _wants(case: Case) -> Iterator[Finding]:
    spend, wanted = case.total(calls.WANTED_SPEND), case.total(calls.WANTED_LATENCY)
    saving, slowest = case.total(calls.SAVING), case.slowest()
    if spend and case.spend:
        found = saving.amount("value") if saving else 0.0
        enough = found >= case.spent_usd - spend.amount("value")
        reached = "reaches it" if enough else "does not reach it alone"
        text = (
            f"The cut you want means {spend.ref('value')} instead of {case.spend.ref('total_usd')}"
        )
        text += f": what is safe to do {reached}." if saving else "."
        yield Finding(case.spent_usd, text)
    if wanted and slowest:
        yield Finding(
            _urgency(case, slowest.amount("p95_ms") + 1),
            f"The speed-up you want means {wanted.ref('value')} at p95 where it is slowest, not "
            f"{slowest.ref('p95_ms')}.",
        )


def _cached(case: Case) -> Iterator[Finding]:
    for found in case.evidence.all("query"):
        for row in found.rows[:SHOWN_MAX]:
            by = next(iter(row.cells))
            if "cached_input_tokens" in row.cells and row.cells[by] is not None:
                yield Finding(
                    row.amount("input_tokens"),
                    f"{row.ref(by)}: the cache served {row.ref('cached_input_tokens')} of "
                    f"{row.ref('input_tokens')} prompt tokens.",
                    f"Put what never changes at the beginning of the prompts of {row.ref(by)}, "
                    "and what changes at their end, so that more of them can be cached.",
                )


def _compared(case: Case) -> Iterator[Finding]:
    if case.family is not Family.COMPARE_MODELS:
        return
    for found in case.evidence.all("reprice", from_model=None):
        row = found.rows[0] if found.rows else None
        if row is None:
            continue
        base = found.call.arguments.get("assume_model")
        which = "these requests" if base else "the requests that other models serve now"
        today = f"{found.ref('current_usd')} on {base}" if base else found.ref("current_usd")
        yield Finding(
            found.amount("saving_usd"),
            f"**On {row.ref('to_model')}, {which} would cost {found.ref('repriced_usd')} instead "
            f"of {today}.** {_quality_of(found)}",
            f"Send a small share of real requests to {row.ref('to_model')}, log `latency_ms` and "
            "`quality_score` for both, and ask again."
            if found.amount("saving_usd") > 0
            else "",
        )


def _quality_of(found: Found) -> str:
    if found.has("quality_current") and found.has("quality_target"):
        return (
            f"The measured quality is {found.ref('quality_target')} there, "
            f"{found.ref('quality_current')} today."
        )
    return "This is price only: its quality on your requests is unmeasured."


def _most(found: Found, column: str) -> Row | None:
    return max(found.rows, key=lambda row: row.amount(column), default=None)


def _capital(text: str) -> str:
    return text if text.startswith("{{") else text[:1].upper() + text[1:]


_LOOKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _compared,
    _safe_moves,
    _duplicates,
    _failures,
    _untested_moves,
    _unsafe_moves,
    _growth,
    _wants,
    _cached,
    _waits,
    _long_prompts,
    _peak,
)
