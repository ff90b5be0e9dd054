"""Mangled streams of both protocols: a reply or a named fault comes of each. More: `make fuzz`."""

import asyncio
import random
from collections import Counter

import pytest

from tests.fakes.bad_provider import ANTHROPIC, OPENAI, PROTOCOLS, RawAnswer, bad_provider
from tests.fakes.watch import hasty_chain
from tests.models.fuzzing import CODES, REQUEST, check, fuzz, keeping, mangled
from tidings.models.connect import connect
from tidings.models.faults import ModelFault
from tidings.resilience.breaker import BreakerRules
from tidings.resilience.retry import RetryPolicy

pytestmark = pytest.mark.filterwarnings("ignore")
"""The providers' libraries warn of what they cannot make sense of."""

STREAMS = 1_000
STREAMS_OVER_SOCKETS = 150
SEED = 20_261_121


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_mangled_stream_gives_a_reply_that_can_be_kept_or_a_fault(protocol: str) -> None:
    outcomes = asyncio.run(fuzz(protocol, STREAMS, SEED))
    assert outcomes.keys() <= CODES | {"ok"}
    least = min(outcomes[name] for name in ("ok", "model_bad_reply", "model_output_unfit"))
    assert least > STREAMS / 50


def test_the_same_over_sockets_within_the_limits() -> None:
    rng = random.Random(SEED)

    async def scenario() -> Counter[str]:
        outcomes: Counter[str] = Counter()
        async with bad_provider(
            lambda protocol, _body, _number: RawAnswer((mangled(protocol, rng),))
        ) as server:
            models = [connect(f"{p}:m", p, "m", server.base_url(p)) for p in (OPENAI, ANTHROPIC)]
            retry, breaker = RetryPolicy(base_seconds=0.0), BreakerRules(calls_min=10_000)
            for model in models:
                chain = hasty_chain(model, retry=retry, breaker=breaker)
                for _ in range(STREAMS_OVER_SOCKETS):
                    try:
                        check(await chain.respond(REQUEST, keeping([])))
                        outcomes["ok"] += 1
                    except ModelFault as fault:
                        outcomes[fault.code] += 1
        return outcomes

    assert asyncio.run(scenario()).keys() <= CODES | {"ok"}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
