"""What the cold tier keeps, one kind of record per table: each has a key, and repeating it is safe.

Times are in seconds since 1970, a `day` is `2026-11-21` (UTC). `exported_at` tells repeats apart:
of the same key the newest counts.
"""

from dataclasses import dataclass

import msgspec


class KeptEvent(msgspec.Struct, frozen=True):
    """An event of an ended run, as it stands on the wire, for the offsets `first` to `last`."""

    event_id: str
    tenant_id: str
    user_id: str
    thread_id: str
    run_id: str
    type: str
    first: int
    last: int
    day: str
    frame: str
    exported_at: float


class KeptRun(msgspec.Struct, frozen=True):
    """How a run ended: so long after its command, without what it waited for people.

    `delivered` is 1 when a device of the user had acknowledged its end by `exported_at`.
    """

    run_id: str
    tenant_id: str
    user_id: str
    thread_id: str
    agent: str
    outcome: str
    day: str
    seconds: float
    attempts: int
    tool_calls: int
    quality: float | None
    delivered: int
    exported_at: float


class KeptUsage(msgspec.Struct, frozen=True):
    """What a run has taken of one model; `unpriced` of its requests have no known cost."""

    run_id: str
    tenant_id: str
    user_id: str
    model: str
    day: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced: int
    exported_at: float


class KeptLatency(msgspec.Struct, frozen=True):
    """How often a server has seen a latency of a bucket (see `domain.levels`) within a minute."""

    server: str
    minute: int
    what: str
    bucket: int
    day: str
    count: int
    exported_at: float


Record = KeptEvent | KeptRun | KeptUsage | KeptLatency


@dataclass(frozen=True, slots=True)
class ColdTable:
    """A kind of record, and what makes two of them the same one: owner first, for that is asked."""

    name: str
    record: type[msgspec.Struct]
    key: tuple[str, ...]

    @property
    def columns(self) -> dict[str, object]:
        """The columns and their types."""
        return {field.name: field.type for field in msgspec.structs.fields(self.record)}


EVENTS = ColdTable("events", KeptEvent, ("user_id", "thread_id", "last", "event_id"))
RUNS = ColdTable("runs", KeptRun, ("user_id", "day", "run_id"))
USAGE = ColdTable("usage", KeptUsage, ("user_id", "day", "run_id", "model"))
LATENCIES = ColdTable("latencies", KeptLatency, ("day", "server", "minute", "what", "bucket"))
TABLES = (EVENTS, USAGE, LATENCIES, RUNS)
CONTENT = (EVENTS, RUNS)
"""What belongs to a thread, and goes with it; what it has cost stays."""
OF_USERS = (EVENTS, USAGE, RUNS)
"""What belongs to a user, and goes with the user."""


class Batch(msgspec.Struct, frozen=True):
    """Records to be kept together."""

    events: tuple[KeptEvent, ...] = ()
    usage: tuple[KeptUsage, ...] = ()
    latencies: tuple[KeptLatency, ...] = ()
    runs: tuple[KeptRun, ...] = ()

    def of(self, table: ColdTable) -> tuple[Record, ...]:
        """Return the records of one table."""
        records: tuple[Record, ...] = getattr(self, table.name)
        return records
