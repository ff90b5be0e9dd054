"""Hints that travel from process to process, by channels of a server.

A channel for each user, subscribed to where that user is attended to, and one for each kind of note
that is for all. So a process hears what its own users' followers wait for, and no more.
"""

import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import msgspec

from tidings.domain.ports import Clock
from tidings.storage.hot.address import Address
from tidings.storage.hot.line import Line
from tidings.storage.hot.memory import LocalHints
from tidings.storage.hot.port import HintsMissed, N, T
from tidings.storage.hot.seal import NotSealed, Seal
from tidings.storage.hot.subscriber import Subscriber
from tidings.storage.notes import FleetNote, UserNote

CHANNEL_PREFIX = b"tidings:"
NOTE_BYTES_MAX = 64 * 1024
NOTE_SECONDS_MAX = 60.0


class Fate(StrEnum):
    """What became of a message: said or heard, or why not."""

    SENT = "sent"
    DROPPED = "dropped"
    HEARD = "heard"
    FOREIGN = "foreign"
    STALE = "stale"
    UNREADABLE = "unreadable"


class _Message(msgspec.Struct, array_like=True):
    """A note as it travels: its kind, when it was sent, and the note itself."""

    kind: str
    sent_at: float
    note: msgspec.Raw


_message = msgspec.msgpack.Decoder(_Message)
_encoder = msgspec.msgpack.Encoder()


class TravellingHints:
    """Tells this process at once, and the others by the line; hears them by a listener of its own.

    What is heard is believed only if a process of the same installation sealed it for this channel
    within NOTE_SECONDS_MAX, and can be read. The rest is counted and forgotten.
    """

    def __init__(
        self,
        address: Address,
        line: Line,
        seal: Seal,
        clock: Clock,
        rng: random.Random,
        count: Callable[[Fate], None],
    ) -> None:
        self._count = count
        self._line = line
        self._seal = seal
        self._clock = clock
        self._here = LocalHints()
        self._afar = LocalHints()
        self._decoders: dict[str, msgspec.msgpack.Decoder[UserNote | FleetNote]] = {}
        self._attended: Counter[str] = Counter()
        self._subscriber = Subscriber(address, self._take_in, self._resume, rng)
        self.run = self._subscriber.run

    @property
    def listening(self) -> bool:
        """Whether notes of other processes arrive."""
        return self._subscriber.connected

    @property
    def fault(self) -> str:
        """Why they do not."""
        return self._subscriber.fault or "not yet"

    def publish(self, note: object) -> None:
        self._here.publish(note)
        if isinstance(note, UserNote | FleetNote):
            self._send(note)

    def listen(self, kind: type[N], listener: Callable[[N], None]) -> None:
        self._here.listen(kind, listener)

    def hear(self, kind: type[T], listener: Callable[[T], None]) -> None:
        self._here.listen(kind, listener)
        self._afar.listen(kind, listener)
        self._decoders[kind.__name__] = msgspec.msgpack.Decoder(kind)
        if issubclass(kind, FleetNote):
            self._subscriber.want(self._channel_of_kind(kind))

    def attend(self, user_id: str) -> None:
        self._attended[user_id] += 1
        if self._attended[user_id] == 1:
            self._subscriber.want(self._channel_of_user(user_id))

    def leave(self, user_id: str) -> None:
        self._attended[user_id] -= 1
        if not self._attended[user_id]:
            del self._attended[user_id]
            self._subscriber.unwant(self._channel_of_user(user_id))

    def _send(self, note: UserNote | FleetNote) -> None:
        written = _encoder.encode(note)
        if len(written) > NOTE_BYTES_MAX and isinstance(note, UserNote):
            written = _encoder.encode(note.brief())
        message = _Message(type(note).__name__, self._clock.now(), msgspec.Raw(written))
        if isinstance(note, UserNote):
            channel = self._channel_of_user(note.user_id)
        else:
            channel = self._channel_of_kind(type(note))
        self._line.say(b"PUBLISH", channel, self._seal.seal(channel, _encoder.encode(message)))
        self._count(Fate.SENT)

    def _take_in(self, channel: bytes, message: bytes) -> None:
        """Pass a message on to those who hear its kind, if it is to be believed."""
        if self._seal.is_own(message):
            return
        try:
            said = _message.decode(self._seal.open(channel, message))
            if abs(self._clock.now() - said.sent_at) > NOTE_SECONDS_MAX:
                self._count(Fate.STALE)
                return
            if (decoder := self._decoders.get(said.kind)) is None:
                return  # a kind that nobody here waits for
            note = decoder.decode(said.note)
        except NotSealed:
            self._count(Fate.FOREIGN)
        except msgspec.DecodeError:
            self._count(Fate.UNREADABLE)
        else:
            self._count(Fate.HEARD)
            self._afar.publish(note)

    def _resume(self) -> None:
        self._here.publish(HintsMissed())

    def _channel_of_user(self, user_id: str) -> bytes:
        return CHANNEL_PREFIX + self._seal.name("user", user_id)

    def _channel_of_kind(self, kind: type[FleetNote]) -> bytes:
        return CHANNEL_PREFIX + self._seal.name("kind", kind.__name__)
