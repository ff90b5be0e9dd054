"""The signing key's file, and the arithmetic of a rate limit."""

import stat
from pathlib import Path

import pytest

from tests.fakes.time import ManualClock
from tidings.identity import rates
from tidings.identity.keys import UnsafeKey, load_or_create_key
from tidings.identity.rates import RateLimit


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "signing.key"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["signing.key"]


def test_a_key_that_others_can_read_or_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(UnsafeKey, match="chmod 600"):
        load_or_create_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(UnsafeKey, match="less than 32 bytes"):
        load_or_create_key(path)


def test_a_limit_allows_a_burst_then_refills_evenly() -> None:
    clock = ManualClock()
    limit = RateLimit(3, 30.0, clock)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == pytest.approx(10.0)
    assert limit.take("b") == 0
    clock.advance(10)
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_what_is_given_back_can_be_taken_again() -> None:
    limit = RateLimit(1, 30.0, ManualClock())
    assert limit.take("a") == 0
    limit.give_back("a")
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_a_limit_remembers_a_bounded_number_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "KEYS_MAX", 2)
    limit = RateLimit(1, 30.0, ManualClock())
    assert [limit.take(key) for key in ("a", "b", "c")] == [0, 0, 0]
    assert limit.take("c") > 0
    assert limit.take("a") == 0
