"""F11 to F15: SIGKILL and SIGSTOP at named points of delivery; clients resume and are checked."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.faults.conftest import Bear, Mortal
from tests.faults.devices import Device, eventually, is_alive
from tests.faults.mortal import APPENDS, POINTS, Life, died_of
from tests.harness.stored import stored_streams
from tests.invariants import check
from tidings.domain.events import TERMINAL


@pytest.mark.parametrize(
    ("point", "number"),
    [
        (point, number)
        for point in POINTS
        for number in (1, 3, 8)
        if number == 1 or "drain" not in point
    ],
)
def test_f11_wherever_the_server_dies_every_device_has_every_event_once(
    mortal: Mortal, point: str, number: int
) -> None:
    async def scenario() -> None:
        life = mortal.life(point, number)
        pid = mortal.bear(life)
        async with mortal.device("d1") as one, mortal.device("d2") as two:
            asking = asyncio.ensure_future(one.ask(f"tell {40 * number} 0.005", "m1"))
            if point == "during_drain":
                await one.until(lambda: one.count > 5)
                os.kill(pid, signal.SIGTERM)
            await eventually(lambda: not is_alive(pid))
            assert died_of(life).exists()
            mortal.bear()
            receipt = await asking
            await two.session.follow(f"thread:{receipt.thread_id}")
            await one.until_end(receipt)
            await two.until_end(receipt)
        log = mortal.check(one, two)
        assert sum(msgspec.json.decode(e.frame)["type"] in TERMINAL for e in log.events) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("point", ["in_batch", "after_announce_before_reply"])
def test_f12_a_thousand_appends_that_wait_are_each_confirmed_and_there_or_repeated(
    tmp_path: Path, bear: Bear, point: str
) -> None:
    def confirmed(number: int) -> set[int]:
        return {int(line) for line in (tmp_path / f"confirmed.{number}").read_text().split()}

    async def scenario() -> None:
        dying = bear(Life(str(tmp_path), 0, point, 600, appends=True))
        await eventually(lambda: not is_alive(dying))
        kept = stored_streams(tmp_path)
        there = {msgspec.json.decode(e.frame)["payload"]["n"] for e in kept.events}
        assert confirmed(600) <= there <= set(range(APPENDS))
        check(kept, [])
        again = bear(Life(str(tmp_path), 0, "", 1, appends=True))
        await eventually(lambda: not is_alive(again))
        assert confirmed(1) == set(range(APPENDS))
        whole = stored_streams(tmp_path)
        assert len(whole.events) == APPENDS
        assert {e.frame for e in kept.events} <= {e.frame for e in whole.events}
        check(whole, [])

    asyncio.run(scenario())


def test_f13_a_server_that_slept_through_its_leases_ends_each_run_once(mortal: Mortal) -> None:
    async def scenario() -> None:
        pid = mortal.bear()
        async with mortal.device() as client:
            receipts = [await client.ask("tell 30 0.05", f"m{n}") for n in range(8)]
            await client.until(lambda: client.count > 20)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(1.6)  # longer than the lease
            os.kill(pid, signal.SIGCONT)
            await client.until_end(*receipts)
            later = await client.ask("tell 1 0", "later")
            await client.until_end(later)
        mortal.check(client)
        assert all(is_told(client, receipt.thread_id) for receipt in receipts)

    asyncio.run(scenario())


def test_f14_a_run_whose_server_always_dies_fails_as_lost_once(mortal: Mortal) -> None:
    async def scenario() -> None:
        pid = mortal.bear()
        async with mortal.device() as client:
            receipt = await client.ask("tell 200 0.1", "m1")
            while receipt.run_id not in client.ends:
                await client.more()
                os.kill(pid, signal.SIGKILL)
                pid = mortal.bear()
        end = client.history.events(f"thread:{receipt.thread_id}")[-1]
        assert (end["type"], end["payload"]["code"]) == ("agent_failed", "worker_lost")
        mortal.check(client)

    asyncio.run(scenario())


def is_told(client: Device, thread_id: str) -> bool:
    return bool(client.history.events(f"thread:{thread_id}")[-1]["type"] == "agent_completed")
