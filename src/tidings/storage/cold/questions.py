"""Every question that the cold tier is asked: one text for both engines, and for whom it is asked.

`{events}` stands for the events as an engine reads them without repeats, `{whose}` for the owner,
`:name` for a parameter; nothing else is put in.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

from tidings.domain.context import Scope, ServerScope, UserContext
from tidings.domain.levels import BUCKET_BOUNDS
from tidings.storage.cold.port import (
    EVENTS_ASKED_MAX,
    ROWS_MAX,
    Days,
    KeptThread,
    LatencyLine,
    PastEvent,
    RunLine,
    UsageLine,
)
from tidings.storage.cold.records import TABLES, ColdTable

Value = str | int | float
R = TypeVar("R")

_ALWAYS = Days("", "9999")
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_EDGES = (-1.0, *BUCKET_BOUNDS, 1e99)
_OF_LAST_EXPORT = (
    "(run_id, exported_at) in (select run_id, max(exported_at) from {{events}}"
    " where {{whose}} and {which} group by run_id)"
)
"""A run that ended twice, before and after older data took the place of newer, ended the second
time: what it said the first time only is of a history that is not any more."""


@dataclass(frozen=True, slots=True)
class NamedQuery(Generic[R]):
    """A question, and what a row of its answer is."""

    sql: str
    row: type[R]


class EngineQuery(NamedTuple):
    """A question as an engine takes it, with the values of its parameters."""

    sql: str
    values: dict[str, Value]


PAGE = NamedQuery(
    "select first, last, frame from {events} where {whose} and thread_id = :thread"
    f" and {_OF_LAST_EXPORT.format(which='thread_id = :thread')}"
    " and first < :before order by last desc limit :most",
    PastEvent,
)
STORY = NamedQuery(
    "select first, last, frame from {events} where {whose}"
    " and (thread_id = :story or run_id = :story)"
    f" and {_OF_LAST_EXPORT.format(which='(thread_id = :story or run_id = :story)')}"
    " and last > :after order by last limit :most",
    PastEvent,
)
KEPT = NamedQuery(
    "select user_id, thread_id, max(exported_at) as newest from {events}"
    " where {whose} and exported_at >= :since"
    f" group by user_id, thread_id order by newest limit {ROWS_MAX}",
    KeptThread,
)
USED = NamedQuery(
    "select cast(day as varchar), user_id, model, sum(requests), sum(input_tokens),"
    " sum(output_tokens), sum(cost_usd), sum(unpriced) from {usage}"
    " where {whose} and day >= :first_day and day <= :last_day"
    f" group by day, user_id, model order by day, user_id, model limit {ROWS_MAX}",
    UsageLine,
)
ENDED = NamedQuery(
    "select agent, outcome, count(*), sum(delivered), count(quality), avg(quality), ["
    + ", ".join(
        f"count(*) filter (where seconds > {above} and seconds <= {upto})"
        for above, upto in pairwise(_EDGES)
    )
    + "] from {runs} where {whose} and day >= :first_day and day <= :last_day"
    f" group by agent, outcome order by agent, outcome limit {ROWS_MAX}",
    RunLine,
)
SERVED = NamedQuery(
    "select what, bucket, sum(count) from {latencies}"
    " where {whose} and day >= :first_day and day <= :last_day"
    " group by what, bucket order by what, bucket",
    LatencyLine,
)


class Questions(ABC):
    """The questions of the port, over an engine's one way to be asked."""

    async def events(
        self, scope: Scope, thread_id: str, before: int, limit: int
    ) -> list[PastEvent]:
        most = min(limit, EVENTS_ASKED_MAX)
        values: dict[str, Value] = {"thread": thread_id, "before": before, "most": most}
        return await self._ask(PAGE, scope, values, _ALWAYS)

    async def story(self, scope: Scope, object_id: str, after: int) -> list[PastEvent]:
        values: dict[str, Value] = {"story": object_id, "after": after, "most": EVENTS_ASKED_MAX}
        return await self._ask(STORY, scope, values, _ALWAYS)

    async def kept(self, scope: ServerScope, since: float) -> list[KeptThread]:
        return await self._ask(KEPT, scope, {"since": since}, _ALWAYS)

    async def usage(self, scope: Scope, days: Days) -> list[UsageLine]:
        return await self._ask(USED, scope, {}, days)

    async def runs(self, scope: Scope, days: Days) -> list[RunLine]:
        return await self._ask(ENDED, scope, {}, days)

    async def latencies(self, scope: ServerScope, days: Days) -> list[LatencyLine]:
        return await self._ask(SERVED, scope, {}, days)

    @abstractmethod
    async def _ask(
        self, question: NamedQuery[R], scope: Scope, values: dict[str, Value], days: Days
    ) -> list[R]:
        """Have the engine answer; only records of these days are of interest."""


def asked(
    question: NamedQuery[R],
    scope: Scope,
    values: dict[str, Value],
    days: Days,
    source: Callable[[ColdTable], str],
    parameter: Callable[[str, Value], str],
) -> EngineQuery:
    """Put an engine's words for tables and parameters in the place of ours.

    This is the one place that says whose records are read: a user's by the user's id, all of them
    only for the server.
    """
    values = values | {"first_day": days.first, "last_day": days.last}
    if isinstance(scope, UserContext):
        values = values | {"user": scope.user_id, "tenant": scope.tenant_id}
        whose = "user_id = :user and tenant_id = :tenant"
    else:
        whose = "1 = 1"
    names = {table.name: source(table) for table in TABLES}
    sql = question.sql.format(whose=whose, **names)
    used = {name: values[name] for name in _PARAMETER.findall(sql)}
    sql = _PARAMETER.sub(lambda found: parameter(found[1], used[found[1]]), sql)
    return EngineQuery(sql, used)
