"""What may be spent: by a run, and by a user on a day (UTC). Pure: amounts in, a verdict out."""

import tomllib
from typing import Any

import msgspec

from tidings.domain.context import UserContext
from tidings.domain.errors import InvalidInput

DEFAULT_PLAN = "default"
CHARACTERS_PER_TOKEN_MIN = 3
"""Fewer than in most texts, so that a reservation is rather too large."""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits; null is none. A step is a model request or a tool call."""

    run_tokens: int | None = 5_000_000
    run_usd: float | None = 50.0
    run_steps: int | None = 1_000
    run_tool_calls: int | None = 500
    day_tokens: int | None = 50_000_000
    day_usd: float | None = 500.0
    day_steps: int | None = 100_000
    day_tool_calls: int | None = 50_000


class Spent(msgspec.Struct, frozen=True):
    """Amounts taken, or wanted. Requests without a known price count as tokens alone."""

    tokens: int = 0
    usd: float = 0.0
    steps: int = 0
    tool_calls: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.tokens + other.tokens,
            self.usd + other.usd,
            self.steps + other.steps,
            self.tool_calls + other.tool_calls,
        )


class BudgetSpent(Exception):
    """A budget has no room for the next step. Agents must let it pass: their run ends."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit

    @property
    def message(self) -> str:
        """What the user is told."""
        whose = "This run" if self.limit.startswith("run_") else "You have, for today,"
        what = self.limit.partition("_")[2].replace("_", " ")
        return f"{whose} used up the budget ({what}). See GET /api/usage."


def exceeded(budget: Budget, scope: str, spent: Spent) -> str | None:
    """Return which limit of `run` or `day` an amount is above; None: none."""
    for name in Spent.__struct_fields__:
        limit = getattr(budget, f"{scope}_{name}")
        if limit is not None and getattr(spent, name) > limit:
            return f"{scope}_{name}"
    return None


def likely_tokens(characters: int, max_output_tokens: int) -> int:
    """Return what a request may take: what is reserved for it."""
    return characters // CHARACTERS_PER_TOKEN_MIN + max_output_tokens


class Plans(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Budgets by name, and whose they are: a user's own, else the tenant's, else `default`."""

    plans: dict[str, Budget] = {}
    users: dict[str, str] = {}
    tenants: dict[str, str] = {}

    def budget(self, context: UserContext) -> Budget:
        """Return what a user may spend."""
        tenants = self.tenants.get(context.tenant_id, DEFAULT_PLAN)
        return self.plans.get(self.users.get(context.user_id, tenants), Budget())


def plans_of(text: str) -> Plans:
    """Read plans from TOML; a limit that is left out has its default, "none" is no limit.

    Raises:
        InvalidInput: `bad_setting`: not TOML, an unknown word, or a plan that is not there.
    """
    try:
        plans = msgspec.convert(_with_none(tomllib.loads(text)), Plans)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput("bad_setting", f"TIDINGS_PLANS: {error}.") from error
    lost = {*plans.users.values(), *plans.tenants.values()} - {*plans.plans, DEFAULT_PLAN}
    if lost:
        raise InvalidInput("bad_setting", f"TIDINGS_PLANS: no such plan: {', '.join(lost)}.")
    return plans


def _with_none(value: Any) -> Any:
    """Return the value with null for "none", which TOML cannot say."""
    if isinstance(value, dict):
        return {key: None if inner == "none" else _with_none(inner) for key, inner in value.items()}
    return value
