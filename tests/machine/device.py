"""A client of the machine: the real client core, what it applied, and what it must never see."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.invariants import History
from tests.machine.serving import EXPECTED_CLOSES, SteppedLink, SteppedServer, said
from tests.machine.shelf import Books, SteppedDatabase
from tidings.domain.commands import Receipt
from tidings.domain.context import Scope, UserContext
from tidings.domain.cursors import FROM_START, cursor_of
from tidings.domain.events import Event
from tidings.protocol.client import (
    Anew,
    Answered,
    Apply,
    ClientCore,
    Draining,
    Greeted,
    Happening,
    Reconnect,
    Reply,
    Told,
)
from tidings.protocol.closing import Close
from tidings.protocol.frames import Auth
from tidings.router.reads import Reads
from tidings.storage.warm.port import T, Work

TOKEN_SECONDS = 600.0
SMALL_WINDOW = {"events": 16, "bytes": 16 * 1024}
"""Of every other device, so that windows are full often."""


class DirectDatabase:
    """The store as it is now, for those who are not part of the server: a page's HTTP requests."""

    def __init__(self, database: SteppedDatabase) -> None:
        self._database = database

    async def write(self, scope: Scope, work: Work[T]) -> T:
        return self._database.at_once(work)

    async def read(self, scope: Scope, work: Work[T]) -> T:
        return self._database.at_once(work)


@dataclass(slots=True)
class Shown:
    """A stream as the person before the device sees it: how far, and the cursor kept with it.

    `after` is None until the server tells where the stream begins; `whole` is whether it was asked
    for from the start of what is kept.
    """

    after: int | None
    whole: bool = False
    cursor: str | None = None


@dataclass(slots=True)
class SteppedDevice:
    """One device of one user. What is in `shown` and `history` survives a crash of its program."""

    user: UserContext
    name: str
    database: SteppedDatabase
    server: SteppedServer
    core: ClientCore
    history: History
    shown: dict[str, Shown] = field(default_factory=dict)
    link: SteppedLink | None = None
    greeted: bool = False
    token_ends: float = 0.0
    stalled: bool = False
    receipts: dict[str, Receipt] = field(default_factory=dict)
    nonsense: set[str] = field(default_factory=set)
    crossed: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    gaps: int = 0
    closes: list[int] = field(default_factory=list)

    @property
    def books(self) -> Books:
        return self.database.books

    # -- the connection ----------------------------------------------------------------------

    def connect(self) -> None:
        """Open a link and say hello, from what the core has."""
        self.link, self.greeted = self.server.connect(), False
        self.crossed.clear()
        self.link.born, self.link.failed = self.books.rewinds, self.database.failed
        hello = msgspec.json.decode(self.core.hello(token=self._token()))
        if self.name.endswith("1"):
            hello["window"] = SMALL_WINDOW
        self.link.up.append(said(hello))

    def disconnect(self, down: int = 0, up: int = 0) -> None:
        """Be cut off after so many of the messages on the way have arrived."""
        link = self.link
        if link is None:
            return
        link.deliver(up)
        self.take(down)
        self.link = None
        link.lose()

    def take(self, count: int, happenings: int | None = None) -> bool:
        """Take so many messages from the link; tell whether anything happened.

        `happenings`: the program dies after so many happenings of the last message.
        """
        took = False
        for number in range(count):
            link = self.link
            if link is None:
                return took
            if not link.down:
                return self._ended(link) or took
            took = True
            last = number == count - 1 and happenings is not None
            self._hear(self.core.receive(link.take()), happenings if last else None)
        return took

    def acknowledge(self) -> None:
        """Acknowledge, as its timer would have it do."""
        if self.greeted and self.link is not None:
            message = self.core.acknowledgement()
            if message is not None:
                self.link.up.append(message.decode())

    def say(self, message: bytes | str) -> None:
        if self.link is not None and self.greeted:
            self.link.up.append(message if isinstance(message, str) else message.decode())

    def ask_nonsense(self, ref: str) -> None:
        """Send what is no command; it must never be answered as if it were."""
        self.nonsense.add(ref)
        self.say(said({"type": "agent_execute", "id": ref, "payload": {}}))

    def _ended(self, link: SteppedLink) -> bool:
        if link.closed is None:
            return False
        code = link.closed[0]
        assert code in EXPECTED_CLOSES, f"{self.name}: closed with {link.closed}"
        spurious = code == Close.STORE_UNAVAILABLE and self.database.failed == link.failed
        assert not spurious, f"{self.name}: {link.closed}, and the store is well"
        self.closes.append(code)
        self.link = None
        return True

    def _token(self) -> str:
        self.token_ends = self.server.clock.now() + TOKEN_SECONDS
        return f"{self.user.user_id}@{self.token_ends}"

    # -- streams -----------------------------------------------------------------------------

    def follow(self, stream: str) -> None:
        """Follow a stream from the start of what is kept, whatever was shown of it before."""
        self.crossed[stream] += 1
        self.shown[stream] = Shown(None, whole=True)
        self.say(self.core.follow(stream, FROM_START))

    def reload(self, stream: str) -> None:
        """Show the stream's snapshot and go on from its cursor."""
        self.crossed[stream] += 1
        kind, _, name = stream.partition(":")
        if kind != "thread" or stream not in self.books.heads:
            self.follow(stream)
            return
        reads = Reads(DirectDatabase(self.database), self.server.clock, self.server.ids)
        cursor = str(_finished(reads, self.user, name)["cursor"])
        after = int(cursor.split(".")[1]) if "." in cursor else int(cursor)
        assert after == self.books.heads[stream], "a snapshot stands at the head"
        self.shown[stream] = Shown(after, cursor=cursor)
        self.history.began(stream, after)
        self.say(self.core.follow(stream, cursor))

    def restart(self, *, reload: bool) -> None:
        """Begin the program anew, from what was stored with what was shown, or from snapshots."""
        self.link, self.greeted = None, False
        self.core = type(self.core)(self.name)
        for stream, shown in list(self.shown.items()):
            if reload:
                self.reload(stream)
            elif shown.cursor is None:
                self.follow(stream)
            else:
                self.core.follow(stream, shown.cursor)

    # -- what happens ------------------------------------------------------------------------

    def _hear(self, happenings: list[Happening], most: int | None) -> None:
        for number, happening in enumerate(happenings):
            if number == most:
                self.restart(reload=False)
                return
            self._happen(happening)

    def _happen(self, happening: Happening) -> None:
        match happening:
            case Apply(event, raw):
                self._apply(event, raw)
            case Reply(reply):
                self._notice_gap(reply)
                self.say(reply)
            case Answered(ref, receipt):
                self._answered(ref, receipt)
            case Anew(stream, why):
                self._begin_anew(stream, why)
            case Greeted():
                self._greet(happening)
            case Reconnect():
                self.disconnect()
            case Told() | Draining():
                self._hear_of(happening)

    def _answered(self, ref: str, receipt: Receipt | None) -> None:
        assert ref not in self.nonsense, f"{ref} is no command and was accepted"
        if receipt is not None:
            self.receipts[ref] = receipt

    def _hear_of(self, told: Told | Draining) -> None:
        """Take the other frames; to a drain there is no other server, this one's end comes."""
        frame = told.frame if isinstance(told, Told) else {"type": "drain"}
        if frame["type"] == "auth_expiring":
            self.say(msgspec.json.encode(Auth(token=self._token())))
        shown = self.shown.get(frame.get("stream", ""))
        if frame["type"] in {"live", "subscribed"} and shown is not None and shown.after is None:
            last = self.core.streams[frame["stream"]].last
            if last is not None:
                self._begin(frame["stream"], shown, last)

    def _notice_gap(self, reply: bytes) -> None:
        """Count a gap, which no connection has; but a command's thread may have lost its start."""
        asked = msgspec.json.decode(reply)
        if asked["type"] == "subscribe" and self.core.streams[asked["stream"]].resubscribed:
            started = asked["cursor"] == FROM_START and self.database.floor(asked["stream"]) > 1
            # One place, another and the first again at once: the answers cannot be told apart.
            again = self.crossed[asked["stream"]] >= 3
            self.gaps += not (started or again)

    def _greet(self, greeted: Greeted) -> None:
        self.greeted = True
        for stream, shown in self.shown.items():
            reading = self.core.streams.get(stream)
            if reading is not None and reading.last not in {None, shown.after}:
                place = f"{self.name} {stream}: goes on after {reading.last}"
                assert shown.cursor in {None, FROM_START}, f"{place}, shown up to {shown.after}"
                self._begin(stream, shown, reading.last or 0)
        for status in greeted.refused:
            self._begin_anew(status["stream"], status["code"])
        for message in self.core.unanswered():
            self.say(message)

    def _begin_anew(self, stream: str, why: str) -> None:
        """Check that there is a cause, then do as we are told."""
        shown, floor = self.shown.get(stream, Shown(None)), self.database.floor(stream)
        self.resets += 1
        after = shown.after or 0
        trimmed = after + 1 < floor
        foreign = shown.cursor is not None and not self._is_ours(stream, shown)
        unproven = shown.cursor is None and self.books.rewinds > 0  # it was ahead when it asked
        diverged = foreign or unproven or after > self.books.heads.get(stream, 0)
        caused = {
            "retention": trimmed,
            "cursor_trimmed": trimmed,
            "diverged": diverged,
            "cursor_diverged": diverged,
            "not_found": stream not in self.books.heads,
            "deleted": stream not in self.books.heads,
        }
        caused["retention"] |= self.crossed[stream] > 0  # perhaps it is of what it followed before
        late = self._may_be_late(stream)  # said of what the store was before
        assert late or caused.get(why), (
            f"{self.name} {stream}: told {why} at {shown}, without a cause"
        )
        if stream in self.books.heads:
            self.reload(stream)
        else:
            self.shown.pop(stream, None)
            self.history.left(stream)

    def _apply(self, event: Event, raw: bytes) -> None:
        shown = self.shown.get(event.stream)
        if shown is None:  # begun by a command's receipt
            shown = self.shown[event.stream] = Shown(None)
        place = f"{self.name} {event.stream} {event.first}..{event.offset}"
        if shown.after is None:
            self._begin(event.stream, shown, event.first - 1)
        assert event.first == (shown.after or 0) + 1, f"{place}: applied after {shown.after}"
        kept = self.books.committed.get(event.event_id)
        if kept is None and self._may_be_late(event.stream):
            kept = self.books.lost.get(event.event_id)  # was on its way when it was lost
        assert kept is not None, f"{place}: applied and not in the store"
        at = (event.stream, event.offset)
        assert (kept.stream, kept.offset) == at, f"{place}: differs from the store, at {kept}"
        shown.after = event.offset
        shown.cursor = str(cursor_of(event.epoch, event.offset, event.event_id))
        self.history.applied(event.stream, raw, shown.cursor, self.database.step)

    def _begin(self, stream: str, shown: Shown, after: int) -> None:
        """Take note where a stream, followed from its start, began."""
        floor = self.database.floor(stream)
        begins = f"{self.name} {stream}: begins after {after}, and the store with {floor}"
        assert not shown.whole or after < floor or self._may_be_late(stream), begins
        shown.after = after
        self.history.began(stream, after)

    def _may_be_late(self, stream: str) -> bool:
        """Tell whether what arrives may have been sent before the store lost it."""
        older = self.link is not None and self.link.born < self.books.rewinds
        return older or stream in self.books.removed

    def _is_ours(self, stream: str, shown: Shown) -> bool:
        """Tell whether the store still has the event that the device stands at."""
        tail = str(shown.cursor).rpartition(".")[2]
        at = (stream, shown.after)
        ids = (i for i, c in self.books.committed.items() if (c.stream, c.offset) == at)
        return any(event_id.endswith(tail) for event_id in ids)


def _finished(reads: Reads, user: UserContext, thread_id: str) -> dict[str, Any]:
    work = reads.snapshot(user, thread_id)
    try:
        work.send(None)
    except StopIteration as stop:
        snapshot: dict[str, Any] = stop.value
        return snapshot
    raise AssertionError("a snapshot waits for nothing here")
