"""F23: no chat waits for a history that does not answer; when it speaks again, it has all."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.devices import device
from tests.harness.clickhouse import ClickHouseDouble
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.server import ServerProcess, add_users
from tests.harness.stored import stored_streams
from tests.history.test_served import PROGRAM, administrator, got, has_counted, until
from tests.invariants import check
from tests.stores import rows_of
from tidings.domain.commands import Receipt, StartAgent, StartPayload

RUNS = 12
TOO_SLOW_SECONDS = 7.0


def fall_silent(proxy: FaultProxy) -> None:
    proxy.down.block()


def slow_down(proxy: FaultProxy) -> None:
    proxy.down.latency = TOO_SLOW_SECONDS


@pytest.mark.parametrize("spoil", [fall_silent, slow_down], ids=["silent", "slow"])
def test_f23_chats_go_on_beside_a_history_that_does_not_answer(
    tmp_path: Path, clickhouse: ClickHouseDouble, spoil: Callable[[FaultProxy], None]
) -> None:
    async def scenario(server: ServerProcess, proxy: FaultProxy) -> None:
        (ana,) = await add_users(server, "ana")
        admin = await administrator(server)
        ((user_id,),) = rows_of(tmp_path, "select user_id from users where name = 'ana'")
        async with device(server.url, user_id, ana.token, "d1") as client:
            receipts: list[Receipt] = []
            while len(receipts) < RUNS or not proxy.up.carried:
                number = len(receipts)
                command = StartAgent(f"m{number}", StartPayload(f"say {number}", "echo"))
                receipts.append(await client.session.send(command))
                await client.until_end(receipts[-1])
            assert rows_of(tmp_path, "select 1 from runs where exported_at is not null") == []
            for receipt in receipts[:2]:
                page = await got(ana, f"/api/threads/{receipt.thread_id}/history")
                assert page["events"][-1]["type"] == "agent_completed"
            log = stored_streams(tmp_path)
            check(log, [client.history], at_head=True, ended=True, proven=True)
        proxy.calm()
        proxy.cut()
        await until(lambda: has_counted(admin, len(receipts)))

    async def whole() -> None:
        async with proxying(clickhouse.port) as proxy:
            spoil(proxy)
            server = ServerProcess(tmp_path, PROGRAM)
            there = f"127.0.0.1:{clickhouse.port}"
            server.extra["TIDINGS_COLD_URL"] = clickhouse.url.replace(
                there, f"127.0.0.1:{proxy.port}"
            )
            await asyncio.to_thread(server.start)
            try:
                await scenario(server, proxy)
            finally:
                proxy.calm()
                await asyncio.to_thread(server.stop)

    asyncio.run(whole())
