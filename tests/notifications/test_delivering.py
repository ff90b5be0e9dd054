"""Webhooks over real sockets, to receivers that behave badly. Rows F49 and F50."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ports import FaultyDatabase, ManualClock
from tests.fakes.receiver import (
    BROKEN,
    GONE,
    GOOD,
    HUGE,
    NOT_HTTP,
    SILENT,
    Received,
    Receiver,
    receiving,
    redirect,
)
from tests.notifications.office import ANA, BOB, THREAD, Office, office
from tidings.domain.errors import InvalidInput, LimitExceeded, NotFound
from tidings.egress import http
from tidings.notifications import deliverer, webhooks
from tidings.notifications.deliveries import CLAIM_SECONDS, GIVE_UP_SECONDS
from tidings.notifications.signing import signed_headers
from tidings.storage.warm.port import Database


@asynccontextmanager
async def waiting(
    path: Path, receiver: Receiver, *more: str, clock: ManualClock | None = None
) -> AsyncIterator[tuple[Office, dict[str, Any]]]:
    """Have a webhook with one delivery that is due."""
    async with office(path, receiver.host, *more, clock=clock) as it:
        webhook = await it.notifications.add_webhook(ANA, receiver.url)
        await it.end_run()
        await it.wait_and_look()
        yield it, webhook


async def state(it: Office, webhook: dict[str, Any]) -> tuple[str, int, int | None, str | None]:
    """Return how the newest delivery stands."""
    newest = (await it.deliveries(webhook))[0]
    return newest["state"], newest["attempts"], newest["last_status"], newest["last_error"]


def is_signed(received: Received, secret: str) -> bool:
    """Verify a signature as a receiver would, from the specification alone."""
    said = received.headers
    signed = f"{said['webhook-id']}.{said['webhook-timestamp']}.".encode() + received.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return said["webhook-signature"] == f"v1,{right}"


def test_a_webhook_is_told_signed_and_without_what_was_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, waiting(tmp_path, receiver) as (it, webhook):
            await it.call()
            [received] = receiver.received
            assert received.line == "POST /hook HTTP/1.1"
            assert received.headers["content-type"] == "application/json"
            assert received.headers["webhook-id"] == "e_end_of_r_1"
            assert received.headers["webhook-timestamp"] == str(int(it.clock.now()))
            assert is_signed(received, webhook["secret"])
            told = json.loads(received.body)
            assert told["type"] == "agent_completed"
            assert told["timestamp"].endswith("Z")
            assert told["data"] == {
                "thread_id": THREAD, "run_id": "r_1", "offset": 1, "status": "completed",
                "title": "Spend",
            }  # fmt: skip
            assert b"secret answer" not in received.body
            assert await state(it, webhook) == ("delivered", 1, 200, None)
            await it.call(3600)
            assert len(receiver.received) == 1
            assert it.counted('tidings_webhook_deliveries_total{outcome="delivered"}') == 1

    asyncio.run(scenario())


def test_the_signature_is_that_of_the_specification() -> None:
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("answer", "drip", "status", "error"),
    [
        (BROKEN, 0.0, 500, None),
        (redirect("http://127.0.0.1:1/"), 0.0, 302, None),
        (SILENT, 0.0, None, "url_timeout"),
        (GOOD, 0.05, None, "url_timeout"),
        (NOT_HTTP, 0.0, None, "url_unreachable"),
    ],
    ids=["500", "redirect", "silent", "a byte at a time", "not HTTP"],
)
def test_f49_a_receiver_that_fails_is_called_again_with_the_same_id(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    drip: float,
    status: int | None,
    error: str | None,
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 1.5)

    async def scenario() -> None:
        receiving_ = receiving(answer, drip=drip)
        async with receiving_ as receiver, waiting(tmp_path, receiver) as (it, webhook):
            await it.call()
            assert await state(it, webhook) == ("pending", 1, status, error)
            receiver.answers, receiver.drip = [GOOD], 0.0
            await it.call(0.7)
            assert len(receiver.received) == 1
            await it.call(0.6)
            assert await state(it, webhook) == ("delivered", 2, 200, None)
            first, second = receiver.received
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert first.body == second.body
            assert all(is_signed(r, webhook["secret"]) for r in receiver.received)

    asyncio.run(scenario())


def test_f49_a_redirect_leads_nowhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as canary, receiving(redirect(canary.url)) as receiver:
            async with waiting(tmp_path, receiver, canary.host) as (it, _):
                await it.call()
            assert (len(receiver.received), canary.connections) == (1, 0)

    asyncio.run(scenario())


def test_f49_a_huge_answer_counts_by_its_status_and_is_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving(HUGE) as receiver, waiting(tmp_path, receiver) as (it, webhook):
            await it.call()
            assert await state(it, webhook) == ("delivered", 1, 200, None)
            assert receiver.sent_bytes < 16 * 1024 * 1024

    asyncio.run(scenario())


def test_f49_a_name_that_leads_inside_is_dead_at_once_and_untouched(tmp_path: Path) -> None:
    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def scenario() -> None:
        async with office(tmp_path, resolve=inside) as it:
            webhook = await it.notifications.add_webhook(ANA, "https://hook.example:8443/")
            async with receiving() as canary:
                await it.end_run()
                await it.wait_and_look()
                await it.call()
                assert canary.connections == 0
            assert await state(it, webhook) == ("dead", 1, None, "url_blocked")

    asyncio.run(scenario())


def test_f49_retries_go_on_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()

    async def scenario() -> None:
        async with receiving(BROKEN) as receiver:
            async with waiting(tmp_path, receiver, clock=clock) as (it, webhook):
                await it.call()
                await it.call(2)
                assert await state(it, webhook) == ("pending", 2, 500, None)
            receiver.answers = [GOOD]
            async with office(tmp_path, receiver.host, clock=clock) as it:
                await it.call(1)
                assert await state(it, webhook) == ("pending", 2, 500, None)
                await it.call(2)
                assert await state(it, webhook) == ("delivered", 3, 200, None)

    asyncio.run(scenario())


def test_f49_pauses_grow_and_after_a_day_the_letter_is_dead_and_can_be_seen(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with receiving(BROKEN) as receiver, waiting(tmp_path, receiver) as (it, webhook):
            began, called = it.clock.now(), []
            while (await state(it, webhook))[0] == "pending":
                called.append(it.clock.now() - began)
                await it.call()
                await it.wait_until_due()
            assert await state(it, webhook) == ("dead", len(called), 500, None)
            assert len(receiver.received) == len(called)
            pauses = [(sooner, later - sooner) for sooner, later in pairwise(called)]
            for n, (_, pause) in enumerate(pauses[:5]):
                assert 0.8 * 2**n <= pause <= 1.2 * 2**n
            assert max(pause for at, pause in pauses if at < 600) <= 60 * 1.2
            late = [pause for at, pause in pauses if at >= 600][4:]
            assert 600 * 0.8 <= min(late) < max(late) <= 600 * 1.2
            assert GIVE_UP_SECONDS - 720 <= called[-1] <= GIVE_UP_SECONDS
            await it.call(GIVE_UP_SECONDS)
            assert len(receiver.received) == len(called)
            assert it.counted('tidings_webhook_deliveries_total{outcome="dead"}') == 1

    asyncio.run(scenario())


def test_f49_a_receiver_that_is_gone_is_turned_off_with_all_that_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving(GONE) as receiver, waiting(tmp_path, receiver) as (it, webhook):
            await it.end_run("r_2")
            await it.wait_and_look()
            await it.call()
            deliveries = await it.deliveries(webhook)
            assert {d["state"] for d in deliveries} == {"dead"}
            assert {d["last_error"] for d in deliveries} == {None, "webhook_gone"}
            [kept] = await it.notifications.webhooks(ANA)
            assert not kept["enabled"]
            await it.end_run("r_3")
            await it.wait_and_look()
            await it.call(3600)
            assert len(receiver.received) == 1

    asyncio.run(scenario())


def test_f49_slow_receivers_take_a_bounded_number_of_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 1.5)
    monkeypatch.setattr(deliverer, "CALLS_AT_ONCE_MAX", 3)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            receivers = [await stack.enter_async_context(receiving(SILENT)) for _ in range(5)]
            it = await stack.enter_async_context(office(tmp_path, *(r.host for r in receivers)))
            for receiver in receivers:
                await it.notifications.add_webhook(ANA, receiver.url)
            for number in range(3):
                await it.end_run(f"r_{number}")
            await it.wait_and_look()
            await it.call()
            assert sum(r.connections for r in receivers) == 3
            assert max(r.connections for r in receivers) == 1, "one at a time for a webhook"
            await it.call(0.5)
            assert sum(r.connections for r in receivers) == 6

    asyncio.run(scenario())


def test_f50_a_delivery_whose_success_was_not_recorded_is_made_again_with_the_same_id(
    tmp_path: Path,
) -> None:
    """The process dies between the receiver's 200 and the record of it."""
    clock, dying = ManualClock(), {"now": False}

    def wrap(database: Database) -> Database:
        return FaultyDatabase(database, lambda number: dying["now"] and number > 0, after=False)

    async def scenario() -> None:
        async with receiving() as receiver:
            async with office(tmp_path, receiver.host, clock=clock, wrap=wrap) as it:
                webhook = await it.notifications.add_webhook(ANA, receiver.url)
                await it.end_run()
                await it.wait_and_look()
                async with it.egress.opened() as outbound, asyncio.TaskGroup() as tasks:
                    await it.deliverer.call_due(outbound, tasks)
                    dying["now"] = True
                assert len(receiver.received) == 1
            async with office(tmp_path, receiver.host, clock=clock) as it:
                await it.call()
                assert len(receiver.received) == 1, "the claim of the dead one still stands"
                await it.call(CLAIM_SECONDS)
                assert await state(it, webhook) == ("delivered", 2, 200, None)
                first, second = receiver.received
                assert first.headers["webhook-id"] == second.headers["webhook-id"]
                assert first.body == second.body
                await it.call(3600)
                assert len(receiver.received) == 2

    asyncio.run(scenario())


def test_a_late_word_about_an_older_attempt_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempt one hangs past its claim; two succeeds; that one failed then counts no more."""
    monkeypatch.setattr(http, "REQUEST_SECONDS", 1.5)

    async def scenario() -> None:
        silent_first = receiving(SILENT, GOOD)
        async with silent_first as receiver, waiting(tmp_path, receiver) as (it, webhook):
            async with it.egress.opened() as outbound, asyncio.TaskGroup() as tasks:
                await it.deliverer.call_due(outbound, tasks)
                await receiver.until(1)
                it.clock.advance(CLAIM_SECONDS)
                await it.deliverer.call_due(outbound, tasks)
            assert await state(it, webhook) == ("delivered", 2, 200, None)

    asyncio.run(scenario())


def test_two_deliverers_claim_a_delivery_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            receiving() as receiver,
            waiting(tmp_path, receiver) as (one, _),
            office(tmp_path, receiver.host, clock=one.clock) as other,
        ):
            async with asyncio.TaskGroup() as tasks:
                for it in (one, other):
                    tasks.create_task(it.call())
            assert len(receiver.received) == 1

    asyncio.run(scenario())


def test_the_loop_calls_as_soon_as_something_is_queued(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, office(tmp_path, receiver.host) as it:
            await it.notifications.add_webhook(ANA, receiver.url)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(it.deliverer.run())
                await it.end_run()
                await it.wait_and_look()
                await receiver.until(1)
                running.cancel()

    asyncio.run(scenario())


def test_webhooks_are_their_users_own_few_and_go_with_what_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, waiting(tmp_path, receiver) as (it, webhook):
            door, id_ = it.notifications, webhook["webhook_id"]
            assert await door.webhooks(BOB) == []
            for foreign in (door.delete_webhook(BOB, id_), door.deliveries(BOB, id_, 10)):
                with pytest.raises(NotFound):
                    await foreign
            assert "secret" not in (await door.webhooks(ANA))[0]
            for _ in range(webhooks.WEBHOOKS_PER_USER_MAX - 1):
                await door.add_webhook(ANA, receiver.url)
            with pytest.raises(LimitExceeded):
                await door.add_webhook(ANA, receiver.url)
            with pytest.raises(InvalidInput):
                await door.add_webhook(BOB, "https://169.254.169.254/")
            await door.delete_webhook(ANA, id_)
            await it.call()
            assert receiver.received == []

    asyncio.run(scenario())


def test_what_has_ended_is_kept_for_a_while_and_what_waits_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "DELIVERIES_KEPT_MAX", 2)

    async def scenario() -> None:
        async with receiving() as receiver, waiting(tmp_path, receiver) as (it, webhook):
            for number in range(2, 6):
                await it.call()
                await it.end_run(f"r_{number}")
                await it.wait_and_look()
            states = [(d["event_id"][-1], d["state"]) for d in await it.deliveries(webhook)]
            assert states == [("5", "pending"), ("4", "delivered"), ("3", "delivered")]

    asyncio.run(scenario())
