"""Latencies of delivery: one event at a time, live, from its append to the client's word."""

import msgspec

from tests.fakes.ports import ManualClock
from tidings.domain.events import Event
from tidings.domain.levels import APPEND_TO_SEND, BUCKET_BOUNDS, SEND_TO_ACK, bucket_of, quantile
from tidings.domain.times import rfc3339
from tidings.events.ranges import Entry
from tidings.gateway.sampling import SAMPLE_SECONDS, UNANSWERED_SECONDS, DeliverySample
from tidings.health import levels as counting
from tidings.health.levels import DeliveryLevels
from tidings.health.metrics import Metrics


def entry(offset: int, appended_at: float) -> Entry:
    event = Event("notice", f"e{offset}", "thread:t1", "ep", offset, rfc3339(appended_at))
    return Entry(offset, msgspec.json.encode(event), offset)


def sampling() -> tuple[DeliverySample, DeliveryLevels, ManualClock]:
    clock = ManualClock(6_000.0)
    levels = DeliveryLevels(Metrics().history, clock)
    return DeliverySample(levels, clock), levels, clock


def counts(levels: DeliveryLevels, clock: ManualClock) -> dict[tuple[str, int], int]:
    clock.time += 60
    found = {(cell.what, cell.bucket): n for cell, n in levels.finished().items()}
    clock.time -= 60
    return found


def test_the_first_event_of_a_batch_is_followed_to_its_acknowledgement() -> None:
    sample, levels, clock = sampling()
    sample.sent("thread:t1", [entry(4, 5_999.8), entry(5, 5_999.99)], 10.0)
    sample.acknowledged({"thread:t1": 3, "thread:t2": 9}, 10.1)
    sample.acknowledged({"thread:t1": 5}, 10.4)
    sample.acknowledged({"thread:t1": 6}, 10.5)
    assert counts(levels, clock) == {
        (APPEND_TO_SEND, bucket_of(0.2)): 1,
        (SEND_TO_ACK, bucket_of(0.4)): 1,
    }


def test_an_event_is_looked_at_once_a_second_and_not_while_another_is_out() -> None:
    sample, levels, clock = sampling()
    sample.sent("thread:t1", [entry(1, 6_000.0)], 0.0)
    sample.sent("thread:t1", [entry(2, 6_000.0)], SAMPLE_SECONDS + 1)
    sample.acknowledged({"thread:t1": 2}, SAMPLE_SECONDS + 1)
    sample.sent("thread:t1", [entry(3, 6_000.0)], SAMPLE_SECONDS + 1)
    sample.sent("thread:t1", [entry(4, 6_000.0)], UNANSWERED_SECONDS + 3)
    sent = sum(n for (what, _), n in counts(levels, clock).items() if what == APPEND_TO_SEND)
    acked = sum(n for (what, _), n in counts(levels, clock).items() if what == SEND_TO_ACK)
    assert (sent, acked) == (3, 1)


def test_a_clock_that_is_behind_gives_no_time_below_nothing() -> None:
    sample, levels, clock = sampling()
    sample.sent("thread:t1", [entry(1, 6_100.0)], 0.0)
    assert counts(levels, clock) == {(APPEND_TO_SEND, 0): 1}


def test_counts_that_nobody_takes_are_bounded() -> None:
    _, levels, clock = sampling()
    for _ in range(counting.CELLS_MAX + 10):
        levels.saw(SEND_TO_ACK, 0.1)
        clock.time += 60
    assert len(levels.finished()) == counting.CELLS_MAX


def test_quantiles_are_the_bound_below_which_a_share_lies() -> None:
    counts = [0] * (len(BUCKET_BOUNDS) + 1)
    assert quantile(counts, 0.5) is None
    counts[0], counts[3], counts[-1] = 50, 45, 5
    assert quantile(counts, 0.5) == BUCKET_BOUNDS[0]
    assert quantile(counts, 0.95) == BUCKET_BOUNDS[3]
    assert quantile(counts, 0.99) is None
