"""Delivery: follow a stream from any place. Hints wake, the log decides."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from tidings.domain.context import SERVER, UserContext
from tidings.domain.cursors import Cursor
from tidings.domain.errors import NotFound, Unavailable
from tidings.events import log
from tidings.events.log import Appended, Page, Place, Removed
from tidings.events.ranges import Entry, joined
from tidings.storage.hot.port import Hints, HintsMissed
from tidings.storage.warm.port import Database

TAIL_ENTRIES_MAX = 512
TAIL_BYTES_MAX = 1024 * 1024
READ_ENTRIES_MAX = 256
READ_BYTES_MAX = 1024 * 1024
POLL_SECONDS = 1.0
POLL_STREAMS_MAX = 500


class Tail:
    """The newest entries of a followed stream, shared by its followers. Contiguous by offset."""

    def __init__(self) -> None:
        self.epoch = ""
        self.head = 0
        self.removed = False
        self.followers: set[Follower] = set()
        self._entries: list[Entry] = []
        self._bytes = 0

    def hint(self, note: Appended) -> None:
        """Take what a hint brings; one of another history than the stream's brings nothing."""
        self.epoch = self.epoch or note.epoch
        if note.epoch == self.epoch:
            self.add(note.entries)
            self.saw(note.head)

    def found(self, place: Place) -> None:
        """Take what the log says; hints that came before and know better are of another history."""
        if self.epoch != place.epoch:
            known, self.epoch, self.head = self.epoch, place.epoch, 0
            self._clear()
            for follower in self.followers if known else ():
                follower.wake()
        self.saw(place.head)

    def add(self, entries: list[Entry]) -> None:
        """Take entries in order; those that do not continue the tail start it anew."""
        if not entries:
            return
        newest = self.newest
        if newest and entries[0].first != newest + 1:
            entries = [entry for entry in entries if entry.offset > newest]
            if not entries:
                return
            if entries[0].first != newest + 1:
                self._clear()
        self._entries.extend(entries)
        self._bytes += sum([len(entry.frame) for entry in entries])
        surplus = max(0, len(self._entries) - TAIL_ENTRIES_MAX)
        self._bytes -= sum([len(entry.frame) for entry in self._entries[:surplus]])
        while self._bytes > TAIL_BYTES_MAX:
            self._bytes -= len(self._entries[surplus].frame)
            surplus += 1
        del self._entries[:surplus]
        self.saw(entries[-1].offset)

    def saw(self, head: int) -> None:
        """Wake the followers when the stream has grown."""
        if head > self.head:
            self.head = head
            for follower in self.followers:
                follower.wake()

    def remove(self) -> None:
        """Wake the followers to hear that there is no such stream any more."""
        self.removed = True
        for follower in self.followers:
            follower.wake()

    @property
    def newest(self) -> int:
        """The last offset that is here, 0 when nothing is."""
        return self._entries[-1].offset if self._entries else 0

    def after(self, offset: int, limit: int) -> list[Entry] | None:
        """Return what follows `offset`, or None when only the log has it."""
        if offset >= self.head:
            return []
        if not self._entries or not self._entries[0].first <= offset + 1 <= self.newest:
            return None
        start = offset + 1 - self._entries[0].offset
        return self._entries[start : start + limit]

    def _clear(self) -> None:
        self._entries.clear()
        self._bytes = 0


class Follower:
    """One reader's place in one stream. Always reads by offset; never keeps a queue."""

    def __init__(
        self,
        feed: "Feed",
        context: UserContext,
        stream: str,
        place: Place,
        wake: Callable[[], None],
    ) -> None:
        self.context = context
        self.stream = stream
        self.epoch = place.epoch
        self.after = place.after
        self.wake = wake
        self._feed = feed
        self._position = ""
        self._last = b""

    def begin(self, place: Place, position: str) -> None:
        """Take the place that a position has turned out to be."""
        self.epoch, self.after, self._position = place.epoch, place.after, position

    @property
    def behind(self) -> bool:
        """Whether a read has something to tell: more entries, or that the stream is another."""
        return self._feed.has_news(self.stream, self.after) or self._is_astray

    @property
    def _is_astray(self) -> bool:
        """Whether the stream is of another history than the one it has read."""
        return self._feed.epoch(self.stream) not in {"", self.epoch}

    def take(
        self, limit: int = READ_ENTRIES_MAX, bytes_max: int = READ_BYTES_MAX
    ) -> list[Entry] | None:
        """Do what `read` does if memory is enough for it; else return None."""
        if self._is_astray:
            return None
        entries = self._feed.kept(self.stream, self.after, min(limit, READ_ENTRIES_MAX))
        if not entries or entries[0].first != self.after + 1:
            return None
        return self._moved_behind(_within(entries, bytes_max))

    async def read(
        self, limit: int = READ_ENTRIES_MAX, bytes_max: int = READ_BYTES_MAX
    ) -> list[Entry]:
        """Return the entries that follow the place and move it behind them.

        One entry comes however long it is; what would go beyond `bytes_max` comes the next time.

        Raises:
            NotFound: there is no such stream any more.
            Conflict: `cursor_trimmed`: what follows is no longer kept; `cursor_diverged`: the data
                have come to be elsewhere, and what was read last is not there.
        """
        if self._is_astray:
            await self._prove()
        limit = min(limit, READ_ENTRIES_MAX)
        page = await self._feed.read(self.context, self.stream, self.after, limit)
        if page.epoch != self.epoch:
            return []  # the next read proves its place first
        entries = _within(page.entries, bytes_max)
        if entries and entries[0].first != self.after + 1:
            raise Unavailable("log_gap", "The log has a gap; the stream cannot go on.")
        return self._moved_behind(entries)

    async def _prove(self) -> None:
        """See whether what was read last is there; then the other history is this one, longer."""
        seen = Cursor(self.epoch, self.after, log.tail_of(self._position, self._last))
        self.epoch = (await self._feed.prove(self.context, self.stream, seen)).epoch

    def _moved_behind(self, entries: list[Entry]) -> list[Entry]:
        if entries:
            self.after, self._last = entries[-1].offset, entries[-1].frame
        return entries

    def close(self) -> None:
        """Stop being woken."""
        self._feed.forget(self)


class Feed:
    """The followed streams. `run` polls the log's heads, so that a lost hint costs a second."""

    def __init__(self, database: Database, hints: Hints) -> None:
        self._database = database
        self._tails: defaultdict[str, Tail] = defaultdict(Tail)
        self._hints = hints
        self._reading: dict[tuple[str, str, int, int], asyncio.Future[Page]] = {}
        self._missed = asyncio.Event()
        hints.hear(Appended, self._on_appended)
        hints.hear(Removed, self._on_removed)
        hints.listen(HintsMissed, lambda _: self._missed.set())

    async def follow(
        self, context: UserContext, stream: str, position: str, wake: Callable[[], None]
    ) -> Follower:
        """Start at a position (see `log.locate`, whose errors this raises); `wake` must not wait.

        The follower hears of everything committed after this call began.
        """
        tail = self._tails[stream]
        waiting = Follower(self, context, stream, Place("", 0, 0), wake)
        tail.followers.add(waiting)
        self._hints.attend(context.user_id)
        try:
            place = await self._database.read(
                context, lambda tx: log.locate(tx, context, stream, position)
            )
        except BaseException:
            self.forget(waiting)
            raise
        waiting.begin(place, position)
        tail.found(place)
        return waiting

    async def prove(self, context: UserContext, stream: str, cursor: Cursor) -> Place:
        """Find the place of a reader again in another history; see `log.prove`."""
        place = await self._database.read(
            context, lambda tx: log.prove(tx, context, stream, cursor)
        )
        if (tail := self._tails.get(stream)) is not None:
            tail.found(place)
        return place

    async def read(self, context: UserContext, stream: str, after: int, limit: int) -> Page:
        """Return entries after an offset: from memory when they are there, else from the log.

        Readers of the same page of the log at the same time share one reading of it. Pieces of an
        answer that come from the log are joined.

        Raises:
            NotFound: there is no such stream any more.
            Conflict: `cursor_trimmed`: what follows is no longer kept.
        """
        if (tail := self._tails.get(stream)) is not None and tail.removed:
            raise NotFound
        if tail is not None and (entries := tail.after(after, limit)) is not None:
            return Page(tail.epoch, entries)
        page = (context.user_id, stream, after, limit)
        while (reading := self._reading.get(page)) is not None:
            await asyncio.wait({reading})
            if not reading.cancelled():
                return reading.result()
        reading = self._reading[page] = asyncio.get_running_loop().create_future()
        try:
            epoch, rows = await self._database.read(
                context, lambda tx: log.read_after(tx, context, stream, after, limit)
            )
            found = Page(epoch, list(joined(rows)))
            reading.set_result(found)
            if tail is not None:
                tail.found(Place(epoch, after, 0))
            return found
        finally:
            reading.cancel()  # after a failure: those who waited read for themselves
            del self._reading[page]

    def kept(self, stream: str, after: int, limit: int) -> list[Entry] | None:
        """Return entries after an offset from memory, or None when only the log can tell."""
        tail = self._tails.get(stream)
        return None if tail is None or tail.removed else tail.after(after, limit)

    def has_news(self, stream: str, after: int) -> bool:
        """Return whether a stream is known to have grown beyond an offset, or to be no more."""
        tail = self._tails.get(stream)
        return tail is not None and (tail.head > after or tail.removed)

    def head(self, stream: str) -> int:
        """Return the newest offset heard of."""
        tail = self._tails.get(stream)
        return tail.head if tail else 0

    def epoch(self, stream: str) -> str:
        """Return the history that a stream is known to be of; empty: nothing is known."""
        tail = self._tails.get(stream)
        return tail.epoch if tail else ""

    def forget(self, follower: Follower) -> None:
        """Drop a follower, and the tail that nobody follows any more."""
        tail = self._tails.get(follower.stream)
        if tail is None or follower not in tail.followers:
            return
        tail.followers.discard(follower)
        self._hints.leave(follower.context.user_id)
        if not tail.followers:
            del self._tails[follower.stream]

    async def run(self) -> None:
        """Poll for what hints did not tell, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._missed.wait()
            self._missed.clear()
            followed = list(self._tails)
            for start in range(0, len(followed), POLL_STREAMS_MAX):
                await self._poll(followed[start : start + POLL_STREAMS_MAX])

    async def _poll(self, streams: list[str]) -> None:
        there = {stream for stream in streams if self.head(stream)}  # before the log is asked
        try:
            found = await self._database.read(SERVER, lambda tx: log.heads(tx, streams))
        except Unavailable:
            return  # the next poll will tell
        for stream in streams:
            if (tail := self._tails.get(stream)) is None:
                continue
            if stream in found:
                tail.found(found[stream])
            elif stream in there:
                tail.remove()

    def _on_removed(self, note: Removed) -> None:
        tail = self._tails.get(note.stream)
        if tail is not None:
            tail.remove()

    def _on_appended(self, note: Appended) -> None:
        tail = self._tails.get(note.stream)
        if tail is not None:
            tail.hint(note)


def _within(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """Return as many of the entries as fit, and one in any case."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.frame)
        if size > bytes_max and count:
            return entries[:count]
    return entries
