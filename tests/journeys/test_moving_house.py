"""A server whose store moves to PostgreSQL and back: who was connected goes on, as do the runs."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.devices import Device, device
from tests.harness.cli import tidings
from tests.harness.postgres import postgres
from tests.harness.server import ROOT, ServerProcess, add_users, serving
from tests.harness.stored import stored_streams
from tests.invariants import check
from tests.stores import rows_of
from tidings.domain.commands import (
    AnswerInput,
    AnswerPayload,
    IfBusy,
    Receipt,
    StartAgent,
    StartPayload,
)
from tidings.storage.backups import DATABASE_FILE

pytestmark = pytest.mark.embedded("it begins with the embedded store")


async def ordered(client: Device, id: str, thread: str | None = None) -> Receipt:
    payload = StartPayload("a server", "shopper", thread, if_busy=IfBusy.ENQUEUE)
    return await client.session.send(StartAgent(id, payload))


async def asked(client: Device, receipt: Receipt) -> None:
    """Wait until a run waits for its user."""
    events = client.history.events
    stream = f"thread:{receipt.thread_id}"
    await client.until(
        lambda: (
            (receipt.run_id, "input_required")
            in {(e.get("run_id"), e["type"]) for e in events(stream)}
        )
    )


async def answer(client: Device, receipt: Receipt) -> None:
    payload = AnswerPayload(receipt.run_id, "q1", "small")
    await client.session.send(AnswerInput(f"a-{receipt.ref}", payload))
    await client.until_end(receipt)


def move(source: str, target: str) -> None:
    ran = tidings("move", "--from", source, "--to", target)
    assert ran.status == 0, ran.err


def test_clients_runs_that_wait_and_runs_in_line_go_on_there_and_back(tmp_path: Path) -> None:
    folder, url = tmp_path / "data", postgres().database()

    async def scenario(server: ServerProcess) -> None:
        (ana,) = await add_users(server, "ana")
        ((user_id,),) = rows_of(folder, "select user_id from users")
        async with device(server.url, user_id, ana.token, "d1") as client:
            first = await ordered(client, "m1")
            await asked(client, first)
            second = await ordered(client, "m2", first.thread_id)
            third = await ordered(client, "m3", first.thread_id)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(move, f"sqlite:{folder}", url)
            server.extra = {"TIDINGS_DATABASE_URL": url}
            await asyncio.to_thread(server.start)
            await answer(client, first)
            await asked(client, second)
            check(stored_streams(url), [client.history], at_head=True)

            await asyncio.to_thread(server.stop)
            (folder / DATABASE_FILE).rename(tmp_path / "old.db")
            await asyncio.to_thread(move, url, f"sqlite:{folder}")
            server.extra = {}
            await asyncio.to_thread(server.start)
            await answer(client, second)
            await asked(client, third)
            await answer(client, third)
            check(stored_streams(folder), [client.history], at_head=True, ended=True, proven=True)
        assert [why for (why,) in rows_of(folder, "select why from epochs")] == ["created"]

    with serving(folder, ROOT / "examples" / "asking_agent.py") as server:
        asyncio.run(scenario(server))
    postgres().drop(url)
