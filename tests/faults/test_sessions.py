"""F33 to F42: tokens, access, devices and clocks, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.devices import Puppet, device, eventually
from tests.faults.served import Served, ShiftedClock, served
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.stored import stored_streams
from tests.invariants import check
from tidings.domain.errors import Forbidden
from tidings.domain.events import thread_stream
from tidings.identity.tokens import ACCESS_TTL_SECONDS
from tidings.protocol import frames
from tidings.protocol.client import Anew, Apply, Draining, Told
from tidings.protocol.connection import EXPIRY_GRACE_SECONDS, EXPIRY_WARNING_SECONDS, Pace

HOUR = 3600.0


@dataclass
class Site:
    server: Served
    proxy: FaultProxy
    clock: ShiftedClock
    ana: str
    token: str

    async def fresh(self) -> str:
        """Sign in anew."""
        return await self.server.identity.issue_token("ana")

    def puppet(self, name: str = "d1", token: str | None = None) -> Puppet:
        return Puppet(self.proxy.url, self.ana, token or self.token, name)

    def expire(self, seconds: float = 0.0) -> None:
        """Let the time come that is so long after the token's end."""
        self.clock.wall += ACCESS_TTL_SECONDS + seconds


@asynccontextmanager
async def site(folder: Path, pace: Pace | None = None) -> AsyncIterator[Site]:
    clock = ShiftedClock()
    async with (
        served(folder, clock=clock, pace=pace or Pace()) as server,
        proxying(server.port) as proxy,
    ):
        yield Site(server, proxy, clock, *await server.user("ana"))


def test_f33_a_client_that_ignores_the_drain_is_closed_at_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            puppet = at.puppet()
            async with puppet.connected():
                await puppet.take()
                draining = asyncio.ensure_future(at.server.presence.drain())
                receipt = await at.server.world.ask(
                    "tell 3 0", await at.server.context(at.token), id="m1"
                )
                await puppet.send(puppet.core.follow(thread_stream(receipt.thread_id)))
                assert await puppet.closed() == 4100
                await draining
            assert any(isinstance(happening, Draining) for happening in puppet.heard)
            assert puppet.count > 3  # delivery went on
            async with (late := at.puppet()).connected():
                assert await late.closed() == 4100
            check(stored_streams(tmp_path), [puppet.history])

    asyncio.run(scenario())


def test_f34_a_token_is_renewed_on_the_open_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            site(tmp_path) as at,
            device(at.proxy.url, at.ana, at.fresh, "d1") as client,
        ):
            receipt = await client.ask("tell 60 0.02", "m1")
            for _ in range(3):
                await client.more()
                at.expire(-EXPIRY_WARNING_SECONDS / 2)
                await asyncio.sleep(0.2)  # a few turns of the wheel
            await client.until_end(receipt)
            await client.until_end(await client.ask("tell 1 0", "m2"))
            assert at.proxy.accepted == 1
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def test_f35_without_a_fresh_token_commands_end_first_and_the_connection_after_a_grace(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            receipt = await at.server.world.ask(
                "tell 400 0.02", await at.server.context(at.token), id="m1"
            )
            puppet = at.puppet()
            puppet.core.follow(thread_stream(receipt.thread_id))
            async with puppet.connected():
                await puppet.until(lambda: puppet.count > 3)
                at.expire(1.0)
                await asyncio.sleep(0.2)
                seen = puppet.count
                said = {"type": "chat", "id": "late", "payload": {"text": "tell 1 0"}}
                await puppet.send(msgspec.json.encode(said))
                await puppet.until(lambda: bool(errors(puppet)))
                assert errors(puppet) == ["token_expired"]
                await puppet.until(lambda: puppet.count > seen + 3)  # delivery goes on
                at.clock.wall += EXPIRY_GRACE_SECONDS
                assert await puppet.closed() == 4201
            check(stored_streams(tmp_path), [puppet.history])

    asyncio.run(scenario())


def test_f35_a_socket_keeps_its_user_and_never_takes_a_bad_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            _, bobs = await at.server.user("bob")
            for token in (bobs, at.token + "x", ""):
                puppet = at.puppet()
                async with puppet.connected():
                    await puppet.take()
                    await puppet.send(msgspec.json.encode(frames.Auth(token=token)))
                    assert await puppet.closed() == 4401

    asyncio.run(scenario())


def errors(puppet: Puppet) -> list[str]:
    told = [h.frame for h in puppet.heard if isinstance(h, Told)]
    return [frame["code"] for frame in told if frame["type"] == "error"]


def test_f36_access_that_ends_ends_the_stream_or_the_socket_and_every_resume(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            user = await at.server.context(at.token)
            receipt = await at.server.world.ask("tell 5 0", user, id="m1")
            await at.server.world.events_until_end(receipt, user)
            stream = thread_stream(receipt.thread_id)
            puppet, away = at.puppet("d1"), at.puppet("d2")
            for each in (puppet, away):
                each.core.follow(stream)
            async with away.connected():
                await away.until(lambda: away.count > 3)
            async with puppet.connected():
                await puppet.until(lambda: puppet.count > 3)
                await at.server.world.reads.delete_thread(user, receipt.thread_id)
                await puppet.until(lambda: isinstance(puppet.heard[-1], Anew))
                reset = puppet.heard[-1]
                assert isinstance(reset, Anew)
                assert (reset.why, reset.snapshot) == ("deleted", None)
                async with away.connected():
                    assert [s["code"] for s in (await away.greeted()).refused] == ["not_found"]
                await at.server.identity.disable_user("ana")
                assert await puppet.closed() == 4401
            async with puppet.connected():
                assert await puppet.closed() == 4401

    asyncio.run(scenario())


def test_f37_a_device_that_connects_again_takes_over_and_the_older_one_stays_away(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            _, bobs = await at.server.user("bob")
            older, newer = at.puppet("same"), at.puppet("same")
            other = at.puppet("other")
            stranger = Puppet(at.proxy.url, "", bobs, "same")
            async with other.connected(), stranger.connected(), older.connected():
                await older.take()
                async with newer.connected():
                    await newer.take()
                    assert await older.closed() == 4409
                    await eventually(lambda: len(at.server.presence) == 3)
            with pytest.raises(ExceptionGroup, match="unhandled") as replaced:
                await replace(at, newer)
            assert "4409" in repr(replaced.value)

    async def replace(at: Site, newer: Puppet) -> None:
        """Have the product's own client replaced; it says so and does not fight."""
        async with device(at.proxy.url, at.ana, at.token, "same") as first:
            await first.ask("tell 1 0", "m1")
            async with newer.connected():
                await newer.take()
                await asyncio.sleep(1.0)
                assert at.server.presence.count(at.ana) == 1
            with pytest.raises(Forbidden):
                await first.ask("tell 1 0", "m2")

    asyncio.run(scenario())


def test_f39_a_page_that_is_reloaded_in_mid_answer_has_the_same_text(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            user = await at.server.context(at.token)
            receipt = await at.server.world.ask("tell 80 0.01", user, id="m1")
            stream = thread_stream(receipt.thread_id)
            whole = at.puppet("d1")
            whole.core.follow(stream)
            async with whole.connected():
                await whole.until(lambda: len(text_of(whole)) > 100)
                snapshot = await at.server.world.reads.snapshot(user, receipt.thread_id)
                page = at.puppet("d2")
                page.core.follow(stream, snapshot["cursor"])
                page.history.began(stream, int(snapshot["cursor"].split(".")[1]))
                async with page.connected():
                    await page.until(lambda: is_over(page))
                await whole.until(lambda: is_over(whole))
            shown = msgspec.json.decode(msgspec.json.encode(snapshot["open_events"]))
            told = [e for e in shown if e["type"] == "answer_delta"]
            before = "".join(e["payload"]["text"] for e in told)
            assert before
            assert before + text_of(page) == text_of(whole)
            check(stored_streams(tmp_path), [whole.history, page.history], at_head=True, ended=True)

    asyncio.run(scenario())


def text_of(puppet: Puppet) -> str:
    applied = [h.event for h in puppet.heard if isinstance(h, Apply)]
    return "".join(e.payload["text"] for e in applied if e.type == "answer_delta")


def is_over(puppet: Puppet) -> bool:
    return any(isinstance(h, Apply) and h.event.type == "agent_completed" for h in puppet.heard)


def test_f40_a_laptop_that_slept_for_hours_signs_in_again_and_resumes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with site(tmp_path) as at:
            signed_in = 0

            async def sign_in() -> str:
                nonlocal signed_in
                signed_in += 1
                return await at.fresh()

            async with device(at.proxy.url, at.ana, sign_in, "d1") as client:
                receipt = await client.ask("tell 30 0.02", "m1")
                await client.more()
                at.proxy.refusing = True
                at.proxy.cut()
                at.clock.slept += 3 * HOUR
                at.proxy.calm()
                await client.until_end(receipt)
            assert signed_in >= 2
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_f41_a_wall_clock_that_jumps_moves_no_event_and_ends_no_run(
    tmp_path: Path, jump: float
) -> None:
    async def scenario() -> None:
        async with (
            site(tmp_path) as at,
            device(at.proxy.url, at.ana, at.fresh, "d1") as client,
        ):
            receipt = await client.ask("tell 60 0.03", "m1")
            stream = thread_stream(receipt.thread_id)
            await client.until(lambda: "agent_started" in types(client.history.events(stream)))
            at.clock.wall += jump
            again = await client.ask("tell 5 0", "m2", receipt.thread_id)
            await client.until_end(receipt, again)
            ends = [e for e in client.history.events(stream) if "proof" in e["payload"]]
            assert types(ends) == ["agent_completed"] * 2
            assert [e["run_id"] for e in ends] == [receipt.run_id, again.run_id]
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def test_f42_an_idle_connection_is_never_silent_for_long(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            site(tmp_path, Pace(ping=0.2)) as at,
            device(at.proxy.url, at.ana, at.token, "d1") as client,
        ):
            await client.until_end(await client.ask("tell 1 0", "m1"))
            await asyncio.sleep(0.3)
            for _ in range(3):  # a proxy that closes what is silent for longer would not
                carried = at.proxy.down.carried
                await asyncio.sleep(0.4)
                assert at.proxy.down.carried > carried
            assert at.proxy.accepted == 1

    asyncio.run(scenario())
