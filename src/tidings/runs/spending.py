"""What is spent, kept with the steps that spend it: reserved before, settled after."""

from datetime import UTC, datetime

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


async def reserve(
    tx: Transaction, run: Run, step: str, wanted: Spent, budget: Budget, now: float
) -> None:
    """Set aside what a request may take.

    Raises:
        BudgetSpent: the user's day has no room for it.
    """
    day = day_of(now)
    await _count(tx, run, day, (0, 0.0, 0, 0))  # who looks at the day's row has it to themselves
    await _check_day(tx, run, budget, day, wanted)
    await tx.execute("delete from reservations where run_id = ? and step = ?", run.run_id, step)
    await tx.execute(
        "insert into reservations (run_id, step, user_id, day, tokens, cost_usd)"
        " values (?, ?, ?, ?, ?, ?)",
        run.run_id,
        step,
        run.context.user_id,
        day,
        wanted.tokens,
        wanted.usd,
    )


async def settle(tx: Transaction, run: Run, step: str, usage: Usage, now: float) -> None:
    """Count what a request has taken in the place of what was set aside for it."""
    await tx.execute("delete from reservations where run_id = ? and step = ?", run.run_id, step)
    tokens = usage.input_tokens + usage.output_tokens
    await _count(tx, run, day_of(now), (tokens, usage.cost_usd or 0.0, usage.requests, 0))


async def count_call(tx: Transaction, run: Run, budget: Budget, now: float) -> None:
    """Count a tool call that begins.

    Raises:
        BudgetSpent: the user's day has no room for it.
    """
    day = day_of(now)
    await _count(tx, run, day, (0, 0.0, 0, 1))
    await _check_day(tx, run, budget, day, Spent())


async def _check_day(tx: Transaction, run: Run, budget: Budget, day: str, wanted: Spent) -> None:
    taken = await spent(tx, run.context, day) + await reserved(tx, run.context, day, run.run_id)
    limit = exceeded(budget, "day", taken + wanted)
    if limit is not None:
        raise BudgetSpent(limit)


async def _count(tx: Transaction, run: Run, day: str, amounts: tuple[int, float, int, int]) -> None:
    await tx.execute(
        "insert into usage_days (user_id, day, tokens, cost_usd, model_requests, tool_calls)"
        " values (?, ?, ?, ?, ?, ?) on conflict (user_id, day) do update set"
        " tokens = usage_days.tokens + excluded.tokens,"
        " cost_usd = usage_days.cost_usd + excluded.cost_usd,"
        " model_requests = usage_days.model_requests + excluded.model_requests,"
        " tool_calls = usage_days.tool_calls + excluded.tool_calls",
        run.context.user_id,
        day,
        *amounts,
    )
