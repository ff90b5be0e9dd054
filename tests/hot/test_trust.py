"""What passes through the server of the hot tier is believed, and readable, to nobody else."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.devices import device, eventually
from tests.harness.valkey import ValkeyServer
from tests.hot.gateways import gateway
from tests.hot.tiers import KEY, Told, on_server
from tidings.domain.errors import Unauthenticated
from tidings.storage.hot.seal import NotSealed, Seal
from tidings.storage.notes import UserNote
from tidings.system import SystemClock

ANAS = b"tidings:ana"
ONE, OTHER = Seal(KEY), Seal(KEY)
SEALED = ONE.seal(ANAS, b"the body")


def test_what_one_process_seals_another_opens() -> None:
    assert OTHER.open(ANAS, SEALED) == b"the body"
    assert ONE.is_own(SEALED)
    assert not OTHER.is_own(SEALED)
    assert ONE.seal(ANAS, b"the body") != SEALED


@given(at=st.integers(0, len(SEALED) - 1), flip=st.integers(1, 255))
def test_no_changed_byte_is_believed(at: int, flip: int) -> None:
    changed = bytearray(SEALED)
    changed[at] ^= flip
    with pytest.raises(NotSealed):
        OTHER.open(ANAS, bytes(changed))


@given(st.binary(max_size=200))
def test_nothing_invented_is_believed(invented: bytes) -> None:
    with pytest.raises(NotSealed):
        OTHER.open(ANAS, invented)


@pytest.mark.parametrize(
    "opened",
    [
        lambda: OTHER.open(b"tidings:bob", SEALED),
        lambda: OTHER.open(ANAS, SEALED[:-1]),
        lambda: OTHER.open(ANAS, b"\x02" + SEALED[1:]),
        lambda: Seal(b"x" * 32).open(ANAS, SEALED),
    ],
    ids=["another channel", "cut short", "another version", "another installation"],
)
def test_what_is_not_exactly_ours_is_not_believed(opened: Callable[[], bytes]) -> None:
    with pytest.raises(NotSealed):
        opened()


class LateClock(SystemClock):
    """A clock that is behind, as that of one who replays what was said then."""

    def now(self) -> float:
        return super().now() - 61


def test_what_others_say_on_a_channel_is_counted_and_forgotten(valkey: ValkeyServer) -> None:
    async def scenario() -> None:
        fates: Counter[str] = Counter()
        async with on_server(valkey.url, fates=fates) as tier, on_server(valkey.url) as peer:
            heard: list[Told] = []
            tier.hints.hear(Told, heard.append)
            tier.hints.attend("u_1")
            channel = tier.hints._channel_of_user("u_1")
            await eventually(lambda: channel in valkey.control.pubsub_channels())

            for junk in (b"", b"\x01", b"hello", b"\x01" * 200, SEALED):
                valkey.publish(channel, junk)
            bobs = tier.hints._channel_of_user("u_2")
            valkey.publish(channel, peer.hints._seal.seal(bobs, b"meant for another"))
            valkey.publish(channel, peer.hints._seal.seal(channel, b"no message"))
            peer.hints.publish(Told("u_1", 1))
            await eventually(lambda: len(heard) == 1)
            assert fates == {"foreign": 6, "unreadable": 1, "heard": 1}

            async with on_server(valkey.url, clock=LateClock()) as late:
                late.hints.publish(Told("u_1", 2))
                await eventually(lambda: fates["stale"] == 1)
            async with on_server(valkey.url, key=b"x" * 32) as stranger:
                stranger.hints.publish(Told("u_1", 3))
            peer.hints.publish(Told("u_1", 4))
            await eventually(lambda: len(heard) == 2)
            assert [note.number for note in heard] == [1, 4]

    asyncio.run(scenario())


def test_a_note_of_another_version_is_counted_and_forgotten(valkey: ValkeyServer) -> None:
    later = msgspec.defstruct("Told", [("renamed", str)], bases=(UserNote,), frozen=True)

    async def scenario() -> None:
        fates: Counter[str] = Counter()
        async with on_server(valkey.url, fates=fates) as tier, on_server(valkey.url) as peer:
            tier.hints.hear(Told, lambda _: None)
            tier.hints.attend("u_1")
            channel = tier.hints._channel_of_user("u_1")
            await eventually(lambda: channel in valkey.control.pubsub_channels())
            peer.hints.publish(later("u_1", "something"))
            await eventually(lambda: fates["unreadable"] == 1)

    asyncio.run(scenario())


def test_who_reads_there_learns_neither_who_nor_what(tmp_path: Path, valkey: ValkeyServer) -> None:
    """A whole conversation with sign-ins, tickets and devices, watched at the server."""

    async def scenario() -> list[bytes]:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            user, token = await one.server.user("canary-user")
            context = await one.server.context(token)
            await one.server.identity.redeem(one.server.identity.ticket(context))
            with pytest.raises(Unauthenticated):
                await one.server.identity.login("canary-user", "wrong", peer="10.9.8.7")
            async with (
                device(one.server.url, user, token, "canary-device") as first,
                device(two.server.url, user, token, "d2") as second,
            ):
                receipt = await first.ask("tell 5 0", "m1")
                await second.session.follow(f"thread:{receipt.thread_id}")
                await first.until_end(receipt)
                await second.until_end(receipt)
        return [user.encode(), token.encode(), receipt.run_id.encode()]

    with valkey.control.pubsub() as watch:  # type: ignore[no-untyped-call]
        watch.psubscribe("*")
        assert watch.get_message(timeout=5)
        secrets = [*asyncio.run(scenario()), b"canary", b"thought", b"10.9.8.7"]
        seen = list(valkey.control.scan_iter("*"))
        assert len(seen) >= 5  # a ticket, an address, an account, two devices
        while said := watch.get_message():
            seen += [said["channel"], said["data"]]
    assert len(seen) > 20
    assert [secret for secret in secrets if any(secret in part for part in seen)] == []
