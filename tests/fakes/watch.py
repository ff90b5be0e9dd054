"""A watch that remembers what it was told, and chains of models on short times."""

from collections import Counter
from collections.abc import Callable

from tidings.models.chain import Chain, ChainRules
from tidings.models.chains import Chains
from tidings.models.patience import TimeLimits
from tidings.models.port import Model
from tidings.resilience.breaker import BreakerRules
from tidings.resilience.bulkhead import BulkheadRules
from tidings.resilience.retry import RetryPolicy
from tidings.system import SystemClock


class RememberingWatch:
    """Counts requests by model and outcome, retries and fallbacks by model."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.retried: Counter[str] = Counter()
        self.fell_back: Counter[tuple[str, str]] = Counter()

    def model_asked(self, model: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.asked[model, outcome] += 1

    def model_retried(self, model: str) -> None:
        self.retried[model] += 1

    def model_fell_back(self, model: str, code: str) -> None:
        self.fell_back[model, code] += 1


def hasty_chain(
    *models: Model,
    watch: RememberingWatch | None = None,
    times: TimeLimits | None = None,
    retry: RetryPolicy | None = None,
    breaker: BreakerRules | None = None,
    bulkhead: BulkheadRules | None = None,
    chance: Callable[[], float] = lambda: 0.5,
) -> Chain:
    """Return a chain that waits for fractions of a second, and whose breakers rarely open."""
    return hasty_chains(
        watch=watch, times=times, retry=retry, breaker=breaker, bulkhead=bulkhead, chance=chance
    ).made(models)


def hasty_chains(
    *,
    watch: RememberingWatch | None = None,
    times: TimeLimits | None = None,
    retry: RetryPolicy | None = None,
    breaker: BreakerRules | None = None,
    bulkhead: BulkheadRules | None = None,
    chance: Callable[[], float] = lambda: 0.5,
) -> Chains:
    """Return what makes such chains."""
    rules = ChainRules(
        times or TimeLimits(connect=2.0, first_byte=2.0, gap=2.0),
        retry or RetryPolicy(base_seconds=0.02),
        breaker or BreakerRules(calls_min=50),
        bulkhead or BulkheadRules(),
    )
    return Chains(SystemClock(), chance, watch or RememberingWatch(), rules)
