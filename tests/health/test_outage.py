"""An outage is a line in the log when it begins, and what it keeps waiting goes on by itself."""

import logging

import pytest

from tidings.domain.errors import Unavailable
from tidings.health.outage import Outage

LOG = logging.getLogger("tidings.test")
AWAY = Unavailable("away", "The store is away.")


def test_an_outage_is_said_once_with_its_reason_and_the_next_one_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(LOG, "the post waits", OSError)
    for fault in (AWAY, AWAY, OSError("full"), None, None, OSError(), AWAY):
        with outage:
            if fault is not None:
                raise fault
        assert bool(outage.reason) == (fault is not None)
    assert [record.getMessage() for record in caplog.records] == [
        "the post waits: The store is away.",
        "the post waits: OSError",
    ]
    assert outage.reason == "The store is away."


def test_what_is_no_outage_is_raised_and_ends_none() -> None:
    outage = Outage(LOG, "the post waits")
    with outage:
        raise AWAY
    with pytest.raises(OSError, match="full"), outage:
        raise OSError("full")
    assert outage.reason == "The store is away."
