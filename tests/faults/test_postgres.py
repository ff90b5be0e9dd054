"""A whole server whose PostgreSQL fails: what was said is done once, and it goes on by itself."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.faults.devices import Device, device
from tests.fleet.nodes import PROGRAM, check_payments, target_in
from tests.harness.postgres import OWNER, PostgresServer
from tests.harness.programs.paying import TARGET
from tests.harness.proxy import FaultProxy, proxying
from tests.harness.server import ServerProcess, add_users
from tests.harness.stored import stored_streams
from tests.invariants import check
from tests.storage.test_postgres import COMMANDS, Cutting, through
from tidings.domain.commands import Receipt, StartAgent, StartPayload
from tidings.domain.errors import TidingsError
from tidings.storage.warm.postgres.database import UNIT_SECONDS

RECOVERY_SECONDS = 60.0
AGAIN_SECONDS = 0.2
LATECOMERS = """
create sequence changes;
grant usage on sequence changes to public;
create function come_late() returns trigger language plpgsql as $$ begin
  if nextval('changes') % 17 = 0 then
    raise 'another was faster' using errcode =
      case currval('changes') % 2 when 0 then '40001' else '40P01' end;
  end if;
  return null;
end $$;
""" + "".join(
    f"create constraint trigger late after insert or update on {table}"
    " deferrable initially deferred for each row execute function come_late();"
    for table in ("commands", "threads", "runs", "steps", "events")
)
"""Has a commit fail for every 17th row that changes: in turn as not serializable, as a deadlock."""
PASSING = {"storage_unavailable", "storage_busy", "overloaded", "rate_limited"}


@dataclass
class Shop:
    """A server on PostgreSQL through a proxy, and clients whose commands have numbers."""

    server: ServerProcess
    clients: list[Device]
    token: str
    proxy: FaultProxy
    database_url: str
    accepted: list[tuple[Device, Receipt]]
    numbers: Iterator[int]

    @property
    def client(self) -> Device:
        """The client of the user who is there in every test."""
        return self.clients[0]

    async def pay(self, client: Device | None = None) -> Receipt:
        """Have a command accepted, under one id, however often it is refused for now."""
        client = client or self.client
        command = StartAgent(f"m{next(self.numbers)}", StartPayload("pay 1", "payer"))
        while True:
            try:
                receipt = await client.session.send(command)
            except TidingsError as error:
                if error.code not in PASSING:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.accepted.append((client, receipt))
                return receipt

    async def get(self, path: str, units: int = 1) -> int:
        """Return the status of an answer, which must come in the time of so many units."""
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(
            base_url=self.server.url, trust_env=False, verify=False
        ) as http:
            answer = await http.get(path, headers=headers, timeout=units * UNIT_SECONDS + 1)
            return answer.status_code

    async def is_ready(self, *, ready: bool) -> None:
        """Wait until the server says that it is ready, or that it is not."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            while (await self.get("/readyz") == 200) != ready:  # noqa: ASYNC110 - a process's state
                await asyncio.sleep(AGAIN_SECONDS)

    async def recovers(self) -> None:
        """See that work goes on, and that everything that was accepted is done once."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            await self.pay()
        await self.is_ready(ready=True)
        for client, receipt in self.accepted:
            await client.until_end(receipt)
        log = stored_streams(self.database_url)
        histories = [client.history for client in self.clients]
        check(log, histories, at_head=True, ended=True, proven=True)
        check_payments(self.server.data_dir)
        runs = {receipt.run_id for _, receipt in self.accepted}
        assert len(runs) == len(self.accepted)
        assert len(log.owners) == len(runs) + len(self.clients)  # threads, and each user's own


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@asynccontextmanager
async def open_shop(
    folder: Path, postgresql: PostgresServer, names: tuple[str, ...] = ("ana",)
) -> AsyncIterator[Shop]:
    """Have a server, and a client of each user that is connected, around the block."""
    url = postgresql.database()
    async with proxying(postgresql.port) as proxy:
        server = ServerProcess(folder, PROGRAM)
        server.extra = {
            "TIDINGS_DATABASE_URL": through(url, proxy),
            TARGET: str(target_in(folder)),
        }
        users = await add_users(server, *names)
        await asyncio.to_thread(server.start)
        try:
            async with AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(device(server.url, user.id, user.token, "d1"))
                    for user in users
                ]
                yield Shop(server, clients, users[0].token, proxy, url, [], count(1))
        finally:
            proxy.calm()
            await asyncio.to_thread(server.stop)


async def pay_often(shop: Shop, times: int) -> None:
    for _ in range(times):
        await shop.pay()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_f22_a_restart_under_load_loses_and_doubles_nothing(
    tmp_path: Path, postgresql: PostgresServer, how: signal.Signals
) -> None:
    async def scenario() -> None:
        async with open_shop(tmp_path, postgresql) as shop:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(4):
                    tasks.create_task(pay_often(shop, 4))
                await shop.client.until(lambda: shop.client.count >= 10)
                await asyncio.to_thread(postgresql.stop, how)
                postgresql.start()  # it ends with the thread that has started it
            await shop.recovers()

    asyncio.run(scenario())


def test_f16_commits_whose_answers_are_lost_are_found_done_or_done_once(
    tmp_path: Path, postgresql: PostgresServer
) -> None:
    async def scenario() -> None:
        async with open_shop(tmp_path, postgresql) as shop:
            shop.proxy.up = cutting = Cutting(down=shop.proxy.down)
            cutting.random = Random(3)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(pay_often(shop, COMMANDS // 12))
            cutting.random = None
            assert cutting.cuts > 1  # after each the server asks less for a while: 4 to 40
            await shop.recovers()

    asyncio.run(scenario())


def test_f17_a_slow_store_is_borne_and_one_that_crawls_is_told_and_taken_back(
    tmp_path: Path, postgresql: PostgresServer
) -> None:
    async def scenario() -> None:
        async with open_shop(tmp_path, postgresql, ("ana", "bob", "cleo")) as shop:
            shop.proxy.up.latency = 0.05
            async with asyncio.timeout(RECOVERY_SECONDS):
                await shop.pay()
            shop.proxy.up.latency = 0.5
            async with asyncio.timeout(RECOVERY_SECONDS):
                await asyncio.gather(*(shop.pay(client) for client in shop.clients))
            shop.proxy.up.latency = 5.0
            await shop.is_ready(ready=False)
            units = 2  # one message, to look who asks, may yet be answered
            assert await shop.get("/api/threads", units) == 503
            shop.proxy.calm()
            await shop.recovers()

    asyncio.run(scenario())


def test_f18_nobody_waits_without_end_for_a_store_that_says_nothing(
    tmp_path: Path, postgresql: PostgresServer
) -> None:
    async def scenario() -> None:
        async with open_shop(tmp_path, postgresql) as shop:
            await shop.pay()
            shop.proxy.up.block()
            shop.proxy.down.block()
            waiting = asyncio.create_task(shop.pay())
            assert set(await asyncio.gather(*[shop.get("/api/threads") for _ in range(20)])) == {
                503
            }
            await shop.is_ready(ready=False)
            shop.proxy.up.unblock()
            shop.proxy.down.unblock()
            await waiting
            await shop.recovers()

    asyncio.run(scenario())


def test_f19_a_store_without_a_free_connection_or_for_reads_alone_is_told_and_taken_back(
    tmp_path: Path, postgresql: PostgresServer
) -> None:
    async def scenario() -> None:
        async with open_shop(tmp_path, postgresql) as shop:
            name = shop.database_url.rpartition("/")[2]
            await shop.pay()
            full = (
                f"alter role {OWNER} connection limit 0",
                f"alter role {OWNER} connection limit -1",
            )
            reads = [
                f"alter database {name} set default_transaction_read_only = {value}"
                for value in ("on", "off")
            ]
            for break_, mend in (full, reads):
                postgresql.sql(break_)
                shop.proxy.cut()
                await shop.is_ready(ready=False)
                waiting = asyncio.create_task(shop.pay())
                postgresql.sql(mend)
                shop.proxy.cut()
                await waiting
            await shop.recovers()

    asyncio.run(scenario())


def test_f19_units_that_others_were_faster_than_are_done_again_and_once(
    tmp_path: Path, postgresql: PostgresServer
) -> None:
    async def scenario() -> None:
        async with open_shop(tmp_path, postgresql) as shop:
            name = shop.database_url.rpartition("/")[2]
            postgresql.sql(LATECOMERS, name)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(pay_often(shop, COMMANDS // 12))
            await shop.recovers()
            assert int(postgresql.sql("select last_value from changes", name)) > 17 * COMMANDS / 5

    asyncio.run(scenario())
