"""What is spent, kept with the steps that spend it: reserved before, settled after."""

from datetime import UTC, datetime
from typing import NamedTuple

from tidings.domain.budgets import Budget, BudgetSpent, Spent, exceeded
from tidings.domain.context import UserContext
from tidings.domain.runs import Run
from tidings.models.port import Usage
from tidings.storage.warm.port import Transaction


def day_of(now: float) -> str:
    """Return the day (UTC) on which something is spent."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


async def spent(tx: Transaction, context: UserContext, day: str) -> Spent:
    """Return what a user's runs have taken on a day."""
    rows = await tx.execute(
        "select tokens, cost_usd, model_requests + tool_calls, tool_calls from usage_days"
        " where user_id = ? and day = ?",
        context.user_id,
        day,
    )
    return Spent(*rows[0]) if rows else Spent()


async def over_all(tx: Transaction, day: str) -> tuple[int, Spent]:
    """Return how many users' runs have taken something on a day, and what together."""
    ((users, *amounts),) = await tx.execute(
        "select count(*), coalesce(sum(tokens), 0), coalesce(sum(cost_usd), 0),"
        " coalesce(sum(model_requests + tool_calls), 0), coalesce(sum(tool_calls), 0)"
        " from usage_days where day = ?",
        day,
    )
    return users, Spent(*amounts)


async def reserved(tx: Transaction, context: UserContext, day: str, but: str = "") -> Spent:
    """Return what requests under way may still take, without those of one run."""
    ((tokens, usd, steps),) = await tx.execute(
        "select coalesce(sum(tokens), 0), coalesce(sum(cost_usd), 0), count(*) from reservations"
        " where user_id = ? and day = ? and run_id <> ?",
        context.user_id,
        day,
        but,
    )
    return Spent(tokens, usd, steps)


class DayEntry(NamedTuple):
    """What a commit of a run enters for its user's day.

    `settled`: what requests have taken, by step, in the place of what was set aside for them;
    `calls`: how many begin; `wanted`: what a request may take, by its step. What begins or is
    wanted must have room in the `budget`.
    """

    settled: dict[str, Usage]
    calls: int = 0
    wanted: tuple[str, Spent] | None = None
    budget: Budget | None = None


NOTHING = DayEntry({})


async def enter(tx: Transaction, run: Run, entry: DayEntry, now: float) -> None:
    """Enter what a commit takes.

    Raises:
        BudgetSpent: the user's day has no room for it.
    """
    if not entry.settled and entry.budget is None:
        return
    day = day_of(now)
    taken, *_ = await tx.together(
        _count(tx, run, day, entry), *(_release(tx, run, step) for step in entry.settled)
    )
    if entry.budget is None:
        return
    if entry.wanted is None:
        others, wanted = await reserved(tx, run.context, day, run.run_id), Spent()
    else:
        step, wanted = entry.wanted
        others, _ = await tx.together(
            reserved(tx, run.context, day, run.run_id), _set_aside(tx, run, step, wanted, day)
        )
    limit = exceeded(entry.budget, "day", taken + others + wanted)
    if limit is not None:
        raise BudgetSpent(limit)


async def _count(tx: Transaction, run: Run, day: str, entry: DayEntry) -> Spent:
    """Count, and return what the day has come to; until the unit ends no other counts."""
    usages = entry.settled.values()
    ((tokens, usd, steps, calls),) = await tx.execute(
        "insert into usage_days (user_id, day, tokens, cost_usd, model_requests, tool_calls)"
        " values (?, ?, ?, ?, ?, ?) on conflict (user_id, day) do update set"
        " tokens = usage_days.tokens + excluded.tokens,"
        " cost_usd = usage_days.cost_usd + excluded.cost_usd,"
        " model_requests = usage_days.model_requests + excluded.model_requests,"
        " tool_calls = usage_days.tool_calls + excluded.tool_calls"
        " returning tokens, cost_usd, model_requests + tool_calls, tool_calls",
        run.context.user_id,
        day,
        sum(usage.input_tokens + usage.output_tokens for usage in usages),
        sum((usage.cost_usd or 0.0 for usage in usages), 0.0),
        sum(usage.requests for usage in usages),
        entry.calls,
    )
    return Spent(tokens, usd, steps, calls)


async def _release(tx: Transaction, run: Run, step: str) -> None:
    await tx.execute("delete from reservations where run_id = ? and step = ?", run.run_id, step)


async def _set_aside(tx: Transaction, run: Run, step: str, wanted: Spent, day: str) -> None:
    await tx.execute(
        "insert into reservations (run_id, step, user_id, day, tokens, cost_usd)"
        " values (?, ?, ?, ?, ?, ?) on conflict (run_id, step) do update set"
        " day = excluded.day, tokens = excluded.tokens, cost_usd = excluded.cost_usd",
        run.run_id,
        step,
        run.context.user_id,
        day,
        wanted.tokens,
        wanted.usd,
    )
