"""Who was away hears of an end, once; who has seen it does not. Rows F47 and F48."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.ports import FaultyDatabase, ManualClock
from tests.notifications.office import ANA, BOB, DUE_SECONDS, THREAD, Office, office
from tidings.domain.context import SERVER
from tidings.domain.errors import NotFound, Unavailable
from tidings.domain.events import EventType
from tidings.events.outbox import NOTIFY_AFTER_SECONDS
from tidings.notifications import inbox
from tidings.notifications.preferences import Preferences
from tidings.router import threads
from tidings.storage.warm.port import Database


def test_f47_an_end_nobody_has_seen_is_one_item_live_on_the_users_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as it:
            offset = await it.end_run()
            await it.wait_and_look(NOTIFY_AFTER_SECONDS)
            assert await it.inbox() == []
            await it.wait_and_look(DUE_SECONDS - NOTIFY_AFTER_SECONDS)
            [item] = await it.inbox()
            shown = {
                "thread_id": THREAD, "run_id": "r_1", "offset": offset, "kind": "agent_completed",
                "status": "completed", "title": "Spend",
            }  # fmt: skip
            assert item.items() >= (shown | {"read": False}).items()
            [event] = await it.told()
            assert event.payload == shown | {"item_id": item["item_id"]}
            assert event.thread_id == THREAD
            await it.wait_and_look()
            assert len(await it.inbox()) == len(await it.told()) == 1
            assert it.counted("tidings_inbox_items_total") == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("device", ["d1", "d2"])
def test_f47_an_end_that_any_device_has_acknowledged_is_no_item(
    tmp_path: Path, device: str
) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as it:
            offset = await it.end_run()
            await it.acknowledge(offset, device)
            await it.wait_and_look()
            assert await it.inbox() == []
            assert await it.told() == []

    asyncio.run(scenario())


def test_f48_what_a_device_was_sent_but_did_not_acknowledge_is_not_delivered(
    tmp_path: Path,
) -> None:
    """Acknowledgements of less, of another user's device or of another stream do not count."""

    async def scenario() -> None:
        async with office(tmp_path) as it:
            await it.end_run("r_0")
            offset = await it.end_run("r_1")
            await it.acknowledge(offset - 1)
            it.positions.acknowledge(BOB, "d1", {f"thread:{THREAD}": offset})
            it.positions.acknowledge(ANA, "d1", {"user:ana": offset})
            await it.positions.store()
            await it.wait_and_look()
            assert [item["run_id"] for item in await it.inbox()] == ["r_1"]

    asyncio.run(scenario())


def test_an_end_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    clock = ManualClock()

    async def live(seconds: float) -> int:
        async with office(tmp_path, clock=clock) as it:
            await it.end_run()
            await it.wait_and_look(seconds)
            return len(await it.inbox())

    assert asyncio.run(live(1)) == 0
    assert asyncio.run(live(3600)) == 1
    assert asyncio.run(live(3600)) == 1


@pytest.mark.parametrize("after", [False, True])
def test_whichever_side_of_the_commit_fails_there_is_one_item(tmp_path: Path, after: bool) -> None:
    failing = {"now": False}

    def wrap(database: Database) -> Database:
        return FaultyDatabase(database, lambda _: failing["now"], after=after)

    async def scenario() -> None:
        async with office(tmp_path, wrap=wrap) as it:
            await it.end_run()
            failing["now"] = True
            with pytest.raises(Unavailable):
                await it.wait_and_look()
            failing["now"] = False
            await it.wait_and_look()
            assert len(await it.inbox()) == len(await it.told()) == 1

    asyncio.run(scenario())


def test_two_that_look_at_once_tell_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as one, office(tmp_path, clock=one.clock) as other:
            for number in range(20):
                await one.end_run(f"r_{number:02}")
            one.clock.advance(DUE_SECONDS)
            async with asyncio.TaskGroup() as tasks:
                for it in (one, other):
                    tasks.create_task(it.dispatcher.look())
            runs = [item["run_id"] for item in await one.inbox()]
            assert sorted(runs) == [f"r_{number:02}" for number in range(20)]
            assert len(await one.told()) == 20

    asyncio.run(scenario())


def test_what_a_user_does_not_want_to_hear_of_is_not_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path, "127.0.0.1:9") as it:
            webhook = await it.notifications.add_webhook(ANA, "http://127.0.0.1:9/")
            await it.notifications.choose(ANA, Preferences(("agent_failed",), ("agent_cancelled",)))
            await it.end_run("r_1", EventType.AGENT_COMPLETED)
            await it.end_run("r_2", EventType.AGENT_FAILED)
            await it.end_run("r_3", EventType.AGENT_CANCELLED)
            await it.wait_and_look()
            assert [item["kind"] for item in await it.inbox()] == ["agent_failed"]
            [delivery] = await it.deliveries(webhook)
            assert delivery["event_id"] == "e_end_of_r_3"

    asyncio.run(scenario())


def test_the_inbox_keeps_the_newest_and_pages_through_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "INBOX_ITEMS_MAX", 3)

    async def scenario() -> None:
        async with office(tmp_path) as it:
            for number in range(5):
                await it.end_run(f"r_{number}")
                await it.wait_and_look()
            assert [item["run_id"] for item in await it.inbox()] == ["r_4", "r_3", "r_2"]
            page = await it.notifications.inbox(ANA, 2, None, unread=True)
            assert page["unread"] == 3
            last = page["items"][-1]["item_id"]
            await it.notifications.mark_read(ANA, last)
            await it.notifications.mark_read(ANA, last)
            rest = await it.notifications.inbox(ANA, 2, last, unread=True)
            assert [item["run_id"] for item in rest["items"]] == ["r_2"]
            assert rest["unread"] == 2

    asyncio.run(scenario())


def test_an_inbox_is_its_users_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as it:
            await it.end_run()
            await it.wait_and_look()
            [item] = await it.inbox()
            assert await it.inbox(BOB) == []
            with pytest.raises(NotFound):
                await it.notifications.mark_read(BOB, item["item_id"])
            assert not (await it.inbox())[0]["read"]

    asyncio.run(scenario())


def test_a_deleted_thread_takes_what_was_told_of_it_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path, "127.0.0.1:9") as it:
            webhook = await it.notifications.add_webhook(ANA, "http://127.0.0.1:9/")
            await it.end_run("r_1")
            await it.wait_and_look()
            await it.end_run("r_2")
            assert await it.inbox() != []
            assert await it.deliveries(webhook) != []
            await it.database.write(ANA, lambda tx: threads.delete(tx, ANA, THREAD))
            assert await it.inbox() == await it.deliveries(webhook) == []
            await it.wait_and_look()
            assert await it.inbox() == []
            assert await outbox_size(it) == 0

    asyncio.run(scenario())


async def outbox_size(it: Office) -> int:
    ((count,),) = await it.database.read(
        SERVER, lambda tx: tx.execute("select count(*) from outbox")
    )
    return int(count)


def test_the_lag_of_the_outbox_is_measured(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as it:
            await it.end_run()
            await it.wait_and_look(DUE_SECONDS + 7)
            assert it.counted("tidings_outbox_lag_seconds") == 7
            await it.wait_and_look()
            assert it.counted("tidings_outbox_lag_seconds") == 0

    asyncio.run(scenario())
