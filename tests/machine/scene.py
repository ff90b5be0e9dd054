"""Where it happens: a store, a server that may die, devices, and what must hold among them."""

import random

from tests.fakes.ports import CountingIds
from tests.invariants import History, check
from tests.machine.device import SteppedDevice
from tests.machine.serving import USERS, SteppedLink, SteppedServer
from tests.machine.shelf import SteppedDatabase, StoreCopy
from tests.machine.stepping import SteppingLoop, stepping_loop
from tests.machine.working import Workers
from tidings.domain.context import UserContext
from tidings.domain.events import user_stream
from tidings.protocol.client import ClientCore

ROUNDS_MAX = 120
"""How often, when nothing is wrong any more, everybody may talk for a second before all is told."""
HINTS_MAX = 64
EVENT_BYTES_MAX = 31_000
LONG_DEAD_SECONDS = 90.0
"""After so long the server has noticed every connection that is dead."""


class Scene:
    """A store, a server that may die, devices of two users, and somebody who works on runs."""

    def __init__(
        self,
        seed: int,
        database: type[SteppedDatabase] = SteppedDatabase,
        core: type[ClientCore] = ClientCore,
    ) -> None:
        self.loop: SteppingLoop = stepping_loop()
        self.rng = random.Random(seed)
        self.ids = CountingIds()
        self.database = database(self.loop, self.rng, self._announce)
        self.database.books.owners.update((user_stream(user), user) for user in USERS)
        self.hints: list[object] = []
        self.honest = True
        self.server = SteppedServer(self.loop, self.database, self.ids)
        self.workers = Workers(self.database, self.ids, self.rng)
        self.backups: list[StoreCopy] = []
        self.zombies: list[SteppedLink] = []
        self.devices = [
            self._device(user, f"{user}-{number}", core) for user in USERS for number in range(2)
        ]

    def _device(self, user: str, name: str, core: type[ClientCore]) -> SteppedDevice:
        made = SteppedDevice(
            USERS[user], name, self.database, self.server, core(name), History(user, name)
        )
        made.follow(user_stream(user))
        return made

    def _announce(self, note: object) -> None:
        """Pass a hint on, or keep it back for the rules to play with."""
        if self.honest:
            self.server.hints.publish(note)
        elif len(self.hints) < HINTS_MAX:
            self.hints.append(note)

    def restart(self, backup: StoreCopy | None = None, epoch: str | None = None) -> None:
        """Let the process die and another one start, on the store or on an older copy of it."""
        self.server.crash()
        self.hints.clear()
        self.zombies.clear()
        self.database.slow = False
        self.database.failures.clear()
        if backup is not None:
            self.database.restore(backup)
        if epoch is not None:
            self.database.begin_epoch(epoch)
        self.server = SteppedServer(self.loop, self.database, self.ids)
        for device in self.devices:
            device.server = self.server

    def streams_of(self, user: UserContext) -> list[str]:
        """Return the user's streams."""
        rows = self.database.connection.execute(
            "select stream from streams where user_id = ? order by stream", (user.user_id,)
        )
        return [stream for (stream,) in rows]

    # -- what must hold ----------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold after every step."""
        assert not self.loop.failures, self.loop.failures
        owners: set[tuple[str, str]] = set()
        for socket in self.server.sockets:
            flow = socket.connection.flow
            window = flow.window
            assert 0 <= flow._events <= window.events, f"{flow._events} events are owed"
            largest = window.bytes + EVENT_BYTES_MAX  # one event may go beyond
            assert 0 <= flow._bytes <= largest, f"{flow._bytes} bytes are owed"
            if socket.user and socket.connection.welcomed and not socket._told_to_close.done():
                owner = (socket.user.user_id, socket.device or "")
                assert owner not in owners, f"{owner} is connected twice"
                owners.add(owner)
        for device in self.devices:
            assert not device.gaps, f"{device.name}: a connection that was not cut has a gap"
            assert not device.core.mismatches, f"{device.name}: a run's proof is wrong"
            for stream, shown in device.shown.items():
                reading = device.core.streams.get(stream)
                if reading is not None and shown.cursor is not None and reading.cursor is not None:
                    assert str(reading.cursor) == shown.cursor, f"{device.name} {stream}"

    def settle(self) -> None:
        """Stop all mischief; everybody who reads must reach the head; then check everything."""
        self._stop_mischief()
        for _ in range(ROUNDS_MAX):
            if self._talk():
                continue
            if self._all_told():
                break
            self.loop.advance(1.1)
        self.check()
        check(
            self.database.logged(),
            [device.history for device in self.devices],
            at_head=True,
            proven=True,
        )
        self._leave()

    def close(self) -> None:
        """Let go of everything."""
        self.server.crash()
        self.database.connection.close()

    def _stop_mischief(self) -> None:
        self.database.slow = False
        self.database.release()
        self.database.failures.clear()
        self.honest = True
        for link in self.zombies:
            link.lose()
            link.tell_server()
        for device in self.devices:
            device.stalled = False

    def _talk(self) -> bool:
        """Let everything that is on its way arrive; tell whether there was anything."""
        moved = False
        self.loop.settle()
        for device in self.devices:
            if device.link is None:
                device.connect()
                moved = True
                continue
            moved |= bool(device.link.up)
            device.link.deliver(len(device.link.up))
            self.loop.settle()
            moved |= device.take(len(device.link.down) + 1)
            device.acknowledge()
        return moved

    def _all_told(self) -> bool:
        heads = self.database.books.heads
        return all(
            device.greeted and shown.after == heads.get(stream, 0)
            for device in self.devices
            for stream, shown in device.shown.items()
        )

    def _leave(self) -> None:
        """Let everybody go: the server must forget them."""
        for device in self.devices:
            if device.link is not None:
                link = device.link
                device.disconnect()
                link.tell_server()
        self.loop.advance(LONG_DEAD_SECONDS)
        assert len(self.server.presence) == 0
        assert not self.server.feed._tails
