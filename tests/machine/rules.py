"""What can happen, as rules: each draws what it needs, does it, and leaves the rest to time.

One class for two drivers: a long seeded walk (walk.py) and Hypothesis, which shrinks what it finds
(test_machine.py).
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from tests.machine.scene import Scene
from tidings.domain.commands import Chat, ChatPayload
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import TidingsError, Unavailable
from tidings.events import compaction, retention

STEP_SECONDS = 0.02


class Rules:
    """The steps. Every one takes a source of choices and can be taken at any time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.steps = 0

    def step(self, rule: Callable[[random.Random], None], rng: random.Random) -> None:
        """Take a step and check what must hold after every one."""
        self.steps += 1
        self.scene.database.step += 1
        rule(rng)
        self.scene.loop.advance(STEP_SECONDS)
        self.scene.check()

    # -- people ------------------------------------------------------------------------------

    def ask(self, rng: random.Random) -> None:
        """A user says something, in a thread or to begin one."""
        device = rng.choice(self.scene.devices)
        known = [s.partition(":")[2] for s in device.shown if s.startswith("thread:")]
        thread = rng.choice(known) if known and (len(known) > 2 or rng.random() < 0.7) else None
        message = device.core.command(Chat(self.scene.ids.new("m"), ChatPayload("Go on.", thread)))
        device.say(message)

    def repeat(self, rng: random.Random) -> None:
        """A command is sent again that was answered, as it was or with another content."""
        device = rng.choice(self.scene.devices)
        if device.receipts:
            ref = rng.choice(sorted(device.receipts))
            text = rng.choice(("Go on.", "Something else."))
            device.say(msgspec.json.encode(Chat(ref, ChatPayload(text, None))))

    def nonsense(self, rng: random.Random) -> None:
        """A frame of a type that does not exist."""
        rng.choice(self.scene.devices).ask_nonsense(self.scene.ids.new("x"))

    # -- runs --------------------------------------------------------------------------------

    def tell(self, rng: random.Random) -> None:
        """A run tells some events."""
        self.scene.server.run(self.scene.workers.tell(self.scene.server.clock, rng))

    def end(self, rng: random.Random) -> None:
        """A run ends, with its proof."""
        self.scene.server.run(self.scene.workers.end(self.scene.server.clock, rng))

    # -- the network -------------------------------------------------------------------------

    def talk(self, rng: random.Random) -> None:
        """Some of what is on its way arrives, in both directions."""
        for device in self.scene.devices:
            if device.link is not None and not device.stalled:
                device.link.deliver(rng.randrange(1, 9))
                device.take(rng.randrange(1, 9))
                if rng.random() < 0.3:
                    device.acknowledge()

    def connect(self, rng: random.Random) -> None:
        """A device connects, if it is not connected."""
        device = rng.choice(self.scene.devices)
        if device.link is None:
            device.stalled = False
            device.connect()

    def cut(self, rng: random.Random) -> None:
        """A connection breaks at any place; the server hears of it at once, or not at all."""
        device = rng.choice(self.scene.devices)
        link = device.link
        if link is not None:
            device.disconnect(rng.randrange(4), rng.randrange(4))
            if rng.random() < 0.7:
                link.tell_server()

    def stall(self, rng: random.Random) -> None:
        """A device stops reading, or reads again."""
        device = rng.choice(self.scene.devices)
        device.stalled = not device.stalled

    def crash_program(self, rng: random.Random) -> None:
        """A device's program dies in the middle of a message, and begins where it had stored."""
        device = rng.choice(self.scene.devices)
        link = device.link
        if link is not None and link.down:
            device.take(rng.randrange(1, 3), happenings=rng.randrange(4))
            if device.link is None:
                link.lose()
                link.tell_server()

    def reload(self, rng: random.Random) -> None:
        """A page is loaded anew: all it knew is gone, it takes snapshots."""
        device = rng.choice(self.scene.devices)
        link = device.link
        device.restart(reload=True)
        if link is not None:
            link.lose()
            link.tell_server()

    def follow(self, rng: random.Random) -> None:
        """A stream is followed from its start or its snapshot, on an open connection as well."""
        device = rng.choice(self.scene.devices)
        streams = self.scene.streams_of(device.user)
        if streams:
            stream = rng.choice(streams)
            rng.choice((device.follow, device.reload))(stream)
            self.scene.database.slow |= rng.random() < 0.3  # so that it crosses what is read

    def take_over(self, rng: random.Random) -> None:
        """The same device connects again, while its older connection still seems to be there."""
        device = rng.choice(self.scene.devices)
        link = device.link
        if link is not None:
            self.scene.zombies.append(link)
            device.connect()

    # -- the server --------------------------------------------------------------------------

    def hint(self, rng: random.Random) -> None:
        """Hints get lost, doubled, late and out of order; or all is well with them again."""
        scene = self.scene
        if scene.honest:
            scene.honest = rng.random() < 0.5
            return
        for _ in range(rng.randrange(len(scene.hints) + 1)):
            number = rng.randrange(len(scene.hints))
            note = scene.hints[number]
            fate = rng.choice(("told", "told", "doubled", "lost"))
            if fate != "doubled":
                scene.hints.pop(number)
            if fate != "lost":
                scene.server.hints.publish(note)
        scene.honest = rng.random() < 0.2

    def slow_store(self, rng: random.Random) -> None:
        """The store takes its time, over several steps; or some of what waited goes on."""
        database = self.scene.database
        if not database.slow:
            database.slow = rng.random() < 0.5
            return
        database.release(rng.randrange(1, 6))
        if rng.random() < 0.3:
            database.slow = False
            database.release()

    def fail_store(self, rng: random.Random) -> None:
        """The next operations of the store fail, before they are done or after."""
        kinds = ("before", "after")
        self.scene.database.failures = [rng.choice(kinds) for _ in range(rng.randrange(3))]

    def restart(self, rng: random.Random) -> None:
        """The server is killed and starts again."""
        self.scene.restart()

    def drain(self, rng: random.Random) -> None:
        """The server stops in order, and starts again."""
        self.scene.server.run(self.scene.server.presence.drain())
        self.scene.loop.advance(rng.choice((0.5, 4.0, 12.0)))
        self.scene.restart()

    def wait(self, rng: random.Random) -> None:
        """Time passes: polls, pings, stalls, expiry."""
        self.scene.loop.advance(rng.choice((0.3, 1.1, 1.1, 5.0, 31.0)))

    def expire(self, rng: random.Random) -> None:
        """So much time passes that tokens end."""
        self.scene.loop.advance(rng.choice((545.0, 700.0)))

    # -- the store ---------------------------------------------------------------------------

    def trim(self, rng: random.Random) -> None:
        """What is older than some seconds leaves the log, perhaps all there is."""
        before = self.scene.server.clock.now() - rng.choice((0.0, 1.0, 5.0, 60.0))
        self.scene.server.run(self._kept_up(self._trimmed(before)))

    async def _trimmed(self, before: float) -> None:
        """Trim as where the cold tier has everything that has ended."""
        exported = "update runs set exported_at = ended_at where state = 'ended'"
        await self.scene.database.write(SERVER, lambda tx: tx.execute(exported))
        await retention.trim(self.scene.database, before)

    def remove(self, rng: random.Random) -> None:
        """A user removes a thread, if nothing is done in it."""
        device = rng.choice(self.scene.devices)
        threads = [s for s in self.scene.streams_of(device.user) if s.startswith("thread:")]
        if threads:
            thread_id = rng.choice(threads).partition(":")[2]
            self.scene.server.run(self._removed(device.user, thread_id))

    async def _removed(self, user: UserContext, thread_id: str) -> None:
        with suppress(TidingsError):  # busy, or gone already
            await self.scene.server.reads.delete_thread(user, thread_id)

    def compact(self, rng: random.Random) -> None:
        """The pieces of ended runs' answers are joined in the store."""
        now = self.scene.server.clock.now()
        self.scene.server.run(self._kept_up(compaction.compact(self.scene.database, now, now)))

    async def _kept_up(self, upkeep: Awaitable[object]) -> None:
        with suppress(Unavailable):
            await upkeep

    def back_up(self, rng: random.Random) -> None:
        """A copy of the store is made."""
        self.scene.backups = [*self.scene.backups[-1:], self.scene.database.copy()]

    def rewind(self, rng: random.Random) -> None:
        """An older copy takes the place of the store, with a new epoch or without."""
        if self.scene.backups:
            epoch = self.scene.ids.new("")[-6:] if rng.random() < 0.5 else None
            self.scene.restart(rng.choice(self.scene.backups), epoch)
