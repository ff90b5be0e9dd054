"""A run as the cold tier keeps it, gathered from the log and the journal after its end.

What is gathered does not depend on when: pieces of an answer are joined here if they are not yet
where they are stored, so that a run which is gathered again gives the same events.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec

from tidings.domain.context import SERVER
from tidings.domain.errors import Failure
from tidings.domain.events import TERMINAL, thread_stream
from tidings.domain.times import rfc3339
from tidings.events.ranges import Entry, is_piece, joined
from tidings.history.ended import EndedRun
from tidings.models.port import NOTHING_USED, Usage
from tidings.storage.cold.records import Batch, KeptEvent, KeptRun, KeptUsage
from tidings.storage.warm.port import Database, Transaction

EVENTS_PER_READ_MAX = 500
UNKNOWN_MODEL = "unknown"


class _Place(msgspec.Struct):
    type: str
    event_id: str
    timestamp: str
    payload: msgspec.Raw


class _End(msgspec.Struct):
    summary: dict[str, Any] = {}
    quality: dict[str, Any] | None = None


class _Reply(msgspec.Struct):
    model: str
    usage: Usage = NOTHING_USED


class _Asked(msgspec.Struct):
    """A model request as the journal has it."""

    reply: _Reply | None = None
    usage: Usage = NOTHING_USED

    @property
    def model(self) -> str:
        """The model that replied, as far as that is known."""
        return UNKNOWN_MODEL if self.reply is None else self.reply.model

    @property
    def used(self) -> Usage:
        """What it took."""
        return self.usage if self.reply is None else self.reply.usage


async def gather(database: Database, run: EndedRun, now: float) -> AsyncIterator[Batch]:
    """Yield a run in batches: pages of its events, then what it has taken and how it ended.

    Raises:
        Failure: `cold_refused`: there is something in it that this version does not know.
    """
    end, last = _End(), 0
    try:
        async for page in _pages(database, run.run_id):
            yield Batch(events=tuple(_kept(run, entry, now) for entry in page))
            place = _place.decode(page[-1].frame)
            last = page[-1].offset
            if place.type in TERMINAL:
                end = msgspec.json.decode(place.payload, type=_End)
        steps, reached = await database.read(SERVER, partial(_beside, run=run))
        asked = [msgspec.json.decode(step, type=_Asked) for step in steps]
    except msgspec.MsgspecError as error:
        raise Failure("cold_refused", "The run holds what cannot be read.") from error
    is_delivered = 0 < last <= reached
    yield Batch(usage=_usage(run, asked, now), runs=(_ended(run, end, now, is_delivered),))


async def _pages(database: Database, run_id: str) -> AsyncIterator[list[Entry]]:
    """Yield the run's events, oldest first; an answer is joined over the borders of pages."""
    after, held = 0, list[Entry]()
    while True:
        rows = await database.read(SERVER, partial(_events, run_id=run_id, after=after))
        page = list(joined([*held, *rows]))
        is_last = len(rows) < EVENTS_PER_READ_MAX
        held = [page.pop()] if not is_last and is_piece(page[-1].frame) else []
        if page:
            yield page
        if is_last:
            return
        after = rows[-1].offset


async def _events(tx: Transaction, run_id: str, after: int) -> list[Entry]:
    rows = await tx.execute(
        'select "offset", frame, joined from events where run_id = ? and "offset" > ?'
        ' and length(frame) > 0 order by "offset" limit ?',
        run_id,
        after,
        EVENTS_PER_READ_MAX,
    )
    return [Entry(offset, bytes(frame), offset - had) for offset, frame, had in rows]


async def _beside(tx: Transaction, run: EndedRun) -> tuple[list[bytes], int]:
    """Return the run's model requests, and how far a device of the user has applied its thread."""
    steps = await tx.execute(
        "select result from steps where run_id = ? and kind = 'model' and result is not null",
        run.run_id,
    )
    ((reached,),) = await tx.execute(
        'select coalesce(max("offset"), 0) from positions where stream = ? and user_id = ?',
        thread_stream(run.thread_id),
        run.user_id,
    )
    return [bytes(result) for (result,) in steps], int(reached)


def _kept(run: EndedRun, entry: Entry, now: float) -> KeptEvent:
    place = _place.decode(entry.frame)
    return KeptEvent(
        event_id=place.event_id,
        tenant_id=run.tenant_id,
        user_id=run.user_id,
        thread_id=run.thread_id,
        run_id=run.run_id,
        type=place.type,
        first=entry.first,
        last=entry.offset,
        day=place.timestamp[:10],
        frame=entry.frame.decode(),
        exported_at=now,
    )


def _usage(run: EndedRun, asked: list[_Asked], now: float) -> tuple[KeptUsage, ...]:
    """Return what the run has taken of each model."""
    taken: dict[str, list[Usage]] = defaultdict(list)
    for request in asked:
        taken[request.model].append(request.used)
    return tuple(
        KeptUsage(
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            user_id=run.user_id,
            model=model,
            day=_day(run),
            requests=sum(usage.requests for usage in usages),
            input_tokens=sum(usage.input_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            cost_usd=sum(usage.cost_usd or 0.0 for usage in usages),
            unpriced=sum(usage.requests for usage in usages if usage.cost_usd is None),
            exported_at=now,
        )
        for model, usages in taken.items()
    )


def _ended(run: EndedRun, end: _End, now: float, is_delivered: bool) -> KeptRun:  # noqa: FBT001 - said by its name
    score = (end.quality or {}).get("score")
    return KeptRun(
        run_id=run.run_id,
        tenant_id=run.tenant_id,
        user_id=run.user_id,
        thread_id=run.thread_id,
        agent=run.agent,
        outcome=run.status,
        day=_day(run),
        seconds=max(0.0, run.ended_at - run.created_at - run.waited_seconds),
        attempts=run.attempts,
        tool_calls=int(end.summary.get("tools", 0)),
        quality=float(score) if isinstance(score, int | float) else None,
        delivered=int(is_delivered),
        exported_at=now,
    )


def _day(run: EndedRun) -> str:
    return rfc3339(run.ended_at)[:10]


_place = msgspec.json.Decoder(_Place)
