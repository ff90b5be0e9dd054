"""Cold tier: what has ended, for questions that may wait. It may lag, and be away for hours."""

from typing import NamedTuple, Protocol

import msgspec

from tidings.domain.context import Scope, ServerScope
from tidings.domain.errors import Unavailable
from tidings.storage.cold.records import Batch

EVENTS_ASKED_MAX = 1_000
ROWS_MAX = 10_000


class Days(NamedTuple):
    """From one day to another, both included; `2026-11-21`, UTC."""

    first: str
    last: str


class Erasure(NamedTuple):
    """A thread of a user that shall leave the history; with None for it, the user shall."""

    user_id: str
    thread_id: str | None


class PastEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event as it stood on the wire, for the offsets `first` to `last` of its thread."""

    first: int
    last: int
    frame: str


class KeptThread(msgspec.Struct, frozen=True, array_like=True):
    """A thread of which something was exported, at `newest` for the last time."""

    user_id: str
    thread_id: str
    newest: float


class UsageLine(msgspec.Struct, frozen=True, array_like=True):
    """What a user's runs have taken of a model on a day.

    `cost_usd` is of the requests whose price is known; `unpriced` is how many others there were.
    """

    day: str
    user_id: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced: int


class RunLine(msgspec.Struct, frozen=True, array_like=True):
    """Runs of an agent that ended alike: how many, of how many the end was acknowledged.

    `quality` is the mean of the `rated` ones. `seconds` counts their durations by the buckets of
    `domain.levels`.
    """

    agent: str
    outcome: str
    runs: int
    delivered: int
    rated: int
    quality: float | None
    seconds: list[int]


class LatencyLine(msgspec.Struct, frozen=True, array_like=True):
    """How often a latency was seen to be in a bucket of `domain.levels`."""

    what: str
    bucket: int
    count: int


class ColdStore(Protocol):
    """Keeps batches, and answers what is asked by name: nobody hands it a question in SQL.

    The first argument of a question is whose records it is about: a user's, or everybody's for the
    server itself.

    Raises:
        Unavailable: `cold_unavailable`; an insert may have been done, in part or whole.
        Failure: `cold_refused`: the store will not take this batch, now or later.
    """

    @property
    def engine(self) -> str:
        """Return what it is, for the operator."""
        ...

    async def insert(self, batch: Batch) -> None:
        """Return after the batch is kept; a record that is there already is not there twice."""
        ...

    async def events(
        self, scope: Scope, thread_id: str, before: int, limit: int
    ) -> list[PastEvent]:
        """Return the newest events of a thread that begin before an offset, newest first.

        At most EVENTS_ASKED_MAX.
        """
        ...

    async def story(self, scope: Scope, object_id: str, after: int) -> list[PastEvent]:
        """Return events of a run or thread after an offset, oldest first.

        At most EVENTS_ASKED_MAX.
        """
        ...

    async def kept(self, scope: ServerScope, since: float) -> list[KeptThread]:
        """Return threads of which something was exported since a time, in the order of that.

        At most ROWS_MAX.
        """
        ...

    async def usage(self, scope: Scope, days: Days) -> list[UsageLine]:
        """Return what was taken, by day, user and model; at most ROWS_MAX lines."""
        ...

    async def runs(self, scope: Scope, days: Days) -> list[RunLine]:
        """Return how runs ended, by agent and outcome."""
        ...

    async def latencies(self, scope: ServerScope, days: Days) -> list[LatencyLine]:
        """Return how fast events were delivered; of no user, for only the server asks."""
        ...

    async def erase(self, erasures: list[Erasure]) -> None:
        """Remove what was said and done in threads; what it has cost stays.

        Of a user everything goes, with what it has cost.
        """
        ...

    async def forget(self, before: str) -> None:
        """Remove the events of all days before a day."""
        ...

    async def tidy(self) -> None:
        """Do what keeps the store quick; now and then, when there is nothing else to do."""
        ...

    async def check(self) -> str:
        """Return the engine's version, after a round trip."""
        ...

    async def close(self) -> None:
        """Let go of processes and connections."""
        ...


def unavailable(why: str) -> Unavailable:
    """Return the answer of a store that is away."""
    return Unavailable("cold_unavailable", f"The history cannot be read now: {why}.")
