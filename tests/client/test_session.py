"""The asyncio client by itself; what it does on bad lines is shown in tests/faults."""

import random

from tidings.client.session import BACKOFF_MAX_SECONDS, Session, always


def test_a_client_that_was_away_for_days_still_tries_and_not_too_often() -> None:
    session = Session("http://127.0.0.1:1", always("t"), "d1", random.Random(1))
    session._known = True
    pauses = [session._pause() for _ in range(5_000)]
    assert max(pauses[:3]) < 2.0
    assert BACKOFF_MAX_SECONDS / 2 < max(pauses) <= BACKOFF_MAX_SECONDS
