"""Service levels: how often what took how long, in buckets that every server counts alike."""

from bisect import bisect_left
from collections.abc import Sequence

BUCKET_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
    *(2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0),
)
"""The upper bounds of the buckets; one more bucket has all that took longer."""

APPEND_TO_SEND = "append_to_send"
"""From an event's place in the log to the socket of a client that was up to date."""
SEND_TO_ACK = "send_to_ack"
"""From the socket to the client's word that it has applied the event."""


def bucket_of(seconds: float) -> int:
    """Return the bucket that a duration is counted in."""
    return bisect_left(BUCKET_BOUNDS, seconds)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the bound below which so large a share lies; None of nothing, or beyond all bounds."""
    wanted = share * sum(counts)
    reached = 0
    for bound, count in zip(BUCKET_BOUNDS, counts, strict=False):
        reached += count
        if count and reached >= wanted:
            return bound
    return None
