"""The arithmetic of a rate limit."""

import pytest

from tidings.resilience import rates
from tidings.resilience.rates import Allowance, Rated


def test_a_rate_allows_a_burst_then_refills_evenly() -> None:
    rated = Rated(Allowance("test", 3, 30.0))
    assert [rated.take("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert rated.take("a", 0.0) == pytest.approx(10.0)
    assert rated.take("b", 0.0) == 0
    assert rated.take("a", 10.0) == 0
    assert rated.take("a", 10.0) > 0


def test_what_is_given_back_can_be_taken_again() -> None:
    rated = Rated(Allowance("test", 1, 30.0))
    assert rated.take("a", 0.0) == 0
    rated.give_back("a")
    assert rated.take("a", 0.0) == 0
    assert rated.take("a", 0.0) > 0


def test_a_bounded_number_of_keys_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "KEYS_MAX", 2)
    rated = Rated(Allowance("test", 1, 30.0))
    assert [rated.take(key, 0.0) for key in ("a", "b", "c")] == [0, 0, 0]
    assert rated.take("c", 0.0) > 0
    assert rated.take("a", 0.0) == 0
