"""F17 to F21 on a real Valkey: two servers on one store, and what becomes of the hints."""

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.faults.pairs import both_see
from tests.harness.proxy import Direction
from tests.harness.valkey import ValkeyServer
from tests.hot.gateways import GatewayNode, gateway, story
from tidings.domain.tiers import TierState
from tidings.events import feed

DOWN, OK = TierState.DOWN, TierState.OK
THIN_BYTES_PER_SECOND = 1_000
TEAR_ODDS = 0.1


def test_what_one_server_commits_the_other_hears_without_reading(
    tmp_path: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll is off: every event of the other server came as a hint."""
    monkeypatch.setattr(feed, "POLL_SECONDS", 3_600.0)

    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            await both_see(tmp_path, one.server, two.server, "tell 40 0.01")

    asyncio.run(scenario())


def test_f17_valkey_is_killed_and_comes_back_empty(tmp_path: Path, valkey: ValkeyServer) -> None:
    def kill(*_: GatewayNode) -> None:
        valkey.kill()

    def start(*_: GatewayNode) -> None:
        valkey.start()

    asyncio.run(story(tmp_path, valkey, kill, start, (DOWN, DOWN)))


def test_f18_valkey_is_emptied_and_nobody_notices(tmp_path: Path, valkey: ValkeyServer) -> None:
    def flush(*_: GatewayNode) -> None:
        valkey.flush()

    asyncio.run(story(tmp_path, valkey, flush, flush, (OK, OK)))


def test_f19_valkey_is_cut_off_from_one_server_alone(tmp_path: Path, valkey: ValkeyServer) -> None:
    def block(one: GatewayNode, _: GatewayNode) -> None:
        one.proxy.up.block()
        one.proxy.down.block()

    def unblock(one: GatewayNode, _: GatewayNode) -> None:
        one.proxy.calm()

    asyncio.run(story(tmp_path, valkey, block, unblock, (DOWN, OK)))


def test_f21_valkey_is_seconds_late(tmp_path: Path, valkey: ValkeyServer) -> None:
    def slow(*nodes: GatewayNode) -> None:
        for node in nodes:
            node.proxy.up.latency = 5.0

    def quick(*nodes: GatewayNode) -> None:
        for node in nodes:
            node.proxy.calm()

    asyncio.run(story(tmp_path, valkey, slow, quick, (DOWN, DOWN)))


def test_f21_valkey_stands_still(tmp_path: Path, valkey: ValkeyServer) -> None:
    def freeze(*_: GatewayNode) -> None:
        valkey.freeze()

    def thaw(*_: GatewayNode) -> None:
        valkey.thaw()

    asyncio.run(story(tmp_path, valkey, freeze, thaw, (DOWN, DOWN)))


def test_f21_valkey_pauses_its_clients(tmp_path: Path, valkey: ValkeyServer) -> None:
    def pause(*_: GatewayNode) -> None:
        valkey.pause(4.0)

    def nothing(*_: GatewayNode) -> None:
        """It goes on by itself."""

    asyncio.run(story(tmp_path, valkey, pause, nothing, (DOWN, DOWN)))


def test_f21_the_line_to_valkey_carries_less_than_there_is_to_say(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            for node in (one, two):
                node.proxy.up.bytes_per_second = THIN_BYTES_PER_SECOND
            await both_see(tmp_path, one.server, two.server, "tell 60 0.01 200")
            assert two.proxy.down.carried < 60 * 200  # less than what was told

    asyncio.run(scenario())


@dataclass(slots=True)
class Tearing(Direction):
    """Resets the connection at one in so many writes."""

    rng: random.Random = field(default_factory=partial(random.Random, 5))
    tears: int = 0

    def take(self, data: bytes) -> list[bytes]:
        if self.rng.random() < TEAR_ODDS:
            self.tears += 1
            self.reset_after = len(data) // 2
        return Direction.take(self, data)


def test_f19_the_line_to_valkey_tears_again_and_again(tmp_path: Path, valkey: ValkeyServer) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            one.proxy.up = tearing = Tearing()
            two.proxy.down = Tearing()
            await both_see(tmp_path, one.server, two.server, "tell 60 0.02")
            assert tearing.tears > 1
            assert one.proxy.accepted > 2  # it has come back each time

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_f20_hints_between_servers_are_lost_doubled_and_reordered(
    tmp_path: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)

    def spoil(node: GatewayNode) -> None:
        say, loop = node.tier._line.say, asyncio.get_running_loop()

        def spoilt(*words: bytes) -> None:
            for _ in range(rng.choice((0, 1, 1, 2))):
                loop.call_later(rng.uniform(0, 0.2), say, *words)

        monkeypatch.setattr(node.tier._line, "say", spoilt)

    async def scenario() -> None:
        async with gateway(tmp_path, valkey) as one, gateway(tmp_path, valkey) as two:
            spoil(one)
            spoil(two)
            await both_see(tmp_path, one.server, two.server, "tell 60 0.01")

    asyncio.run(scenario())
