"""Whether and when to try again: one decision, for everything that is tried."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

RESERVE_RETRIES_MAX = 10.0
BUDGETS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long; times in seconds.

    The n-th wait is drawn evenly from 0 to `base_seconds` times 2 to the n, at most `cap_seconds`
    (full jitter). Who is asked to wait longer than `wait_seconds_max` gives up: something else can
    be done in that time.
    """

    retries_max: int = 2
    base_seconds: float = 0.5
    cap_seconds: float = 8.0
    wait_seconds_max: float = 10.0


RETRY_POLICY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Setback:
    """A failure, and where it leaves us.

    `retries` were made already; `passing` says that the fault may pass; `retry_after_seconds` is
    what the other side asked for; `shown` says that a user has seen part of the result.
    """

    retries: int
    passing: bool
    retry_after_seconds: float | None
    shown: bool
    remaining_seconds: float


class RetryBudget:
    """Retries as a share of requests: each request earns a tenth of one, a few are kept in reserve.

    So a provider that is down is not asked twice or three times as often for it.
    """

    def __init__(self, share: float = 0.1, reserve: float = RESERVE_RETRIES_MAX) -> None:
        self._share = share
        self._reserve = reserve
        self._balance = reserve

    @property
    def allows(self) -> bool:
        """Return whether a retry is paid for."""
        return self._balance >= 1.0

    def earn(self) -> None:
        """Count a request."""
        self._balance = min(self._reserve, self._balance + self._share)

    def spend(self) -> None:
        """Count a retry."""
        self._balance -= 1.0


class RetryBudgets:
    """Budgets by key; those unused for longest are forgotten beyond BUDGETS_MAX."""

    def __init__(self) -> None:
        self._budgets: OrderedDict[Hashable, RetryBudget] = OrderedDict()

    def of(self, key: Hashable) -> RetryBudget:
        """Return the budget of a key."""
        budget = self._budgets.setdefault(key, RetryBudget())
        self._budgets.move_to_end(key)
        if len(self._budgets) > BUDGETS_MAX:
            self._budgets.popitem(last=False)
        return budget


def decide(policy: RetryPolicy, setback: Setback, *, allowed: bool, chance: float) -> float | None:
    """Return how many seconds to wait before the next try, or None to give up.

    `allowed` is the budget's word, `chance` is drawn evenly from 0..1. Nothing is tried again after
    a user has seen part of it, nor beyond the time that remains.
    """
    if setback.shown or not setback.passing or not allowed:
        return None
    if setback.retries >= policy.retries_max:
        return None
    if setback.retry_after_seconds is None:
        wait = chance * min(policy.cap_seconds, policy.base_seconds * 2.0**setback.retries)
    else:
        wait = max(0.0, setback.retry_after_seconds) + chance * policy.base_seconds
    if wait > policy.wait_seconds_max or wait >= setback.remaining_seconds:
        return None
    return wait
