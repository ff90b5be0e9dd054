"""The storm of cancellations: whoever is cut off anywhere, nobody ever gets another one's bytes.

`python -m tests.storage.cancels 100000` from the root.
"""

import asyncio
import sys
import time
from collections import Counter
from functools import partial
from random import Random

from tests.harness.postgres import PostgresAddress, postgres
from tidings.domain.context import SERVER, UserContext
from tidings.storage.warm.port import Row, Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase

USERS = 50
AT_ONCE = 16
SPARED = 0.3
"""Of all units; they end, and leave their connections to those that are cut off."""
SERVERS = 0.3
"""Of all units; they make nobody's connections the server's, as users' make them nobody's."""
DELAY_SECONDS_MAX = 0.02
SETTLE_SECONDS = 5.0


def user(number: int) -> UserContext:
    return UserContext("t", f"u{number:02}", "s")


async def own_rows(tx: Transaction, mark: str) -> list[Row]:
    """Read what is the user's, two ways, and tag it with a value of this very unit."""
    rows = await tx.execute("select user_id, body, ? from preferences", mark)
    return rows + await tx.execute("select user_id, body, ? from preferences where true", mark)


async def own_change(tx: Transaction, mark: str) -> list[Row]:
    await tx.lock("select 1 from preferences")
    return await tx.execute(
        "update preferences set body = body || '' returning user_id, body, ?", mark
    )


async def all_rows(tx: Transaction, mark: str) -> list[Row]:
    return await tx.execute("select user_id, body, ? from preferences", mark)


async def fill(tx: Transaction) -> None:
    for number in range(USERS):
        name = user(number).user_id
        await tx.execute("insert into preferences values (?, ?)", name, f"of {name} " * 50)


class Storm:
    """Units of many users, of which most are cancelled at a moment of chance's choosing."""

    def __init__(self, database: PostgresDatabase, random: Random) -> None:
        self.seen: Counter[str] = Counter()
        self._database = database
        self._random = random

    async def rage(self, cancels: int) -> None:
        """Go on until so many units were cut off in the middle."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._one_after_another(cancels))

    async def _one_after_another(self, cancels: int) -> None:
        while self.seen["cancelled"] < cancels:
            context = user(self._random.randrange(USERS))
            await self._one(context, f"{context.user_id}-{self._random.random()}")

    async def _one(self, context: UserContext, mark: str) -> None:
        is_servers = self._random.random() < SERVERS
        if is_servers:
            unit = self._database.read(SERVER, partial(all_rows, mark=mark))
        elif self._random.random() < 0.5:
            unit = self._database.read(context, partial(own_rows, mark=mark))
        else:
            unit = self._database.write(context, partial(own_change, mark=mark))
        task = asyncio.ensure_future(unit)
        spared = self._random.random() < SPARED
        delay = None if spared else self._random.uniform(0, DELAY_SECONDS_MAX)
        await asyncio.wait({task}, timeout=delay)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if task.cancelled():
            self.seen["cancelled"] += 1
            return
        self.seen["done"] += 1
        if is_servers:
            assert len(task.result()) == USERS, "the server sees all rows"
            return
        whole = context.user_id, f"of {context.user_id} " * 50, mark
        assert task.result(), "a user sees their own row"
        assert set(task.result()) == {whole}, task.result()


async def storm(server: PostgresAddress, url: str, cancels: int, seed: int = 1) -> Counter[str]:
    """Rage, then see that all connections are back; return what happened how often."""
    random, name = Random(seed), url.rpartition("/")[2]
    of_ours = f"from pg_stat_activity where datname = '{name}'"
    database = PostgresDatabase(url, lambda note: None, random)
    await database.write(SERVER, fill)
    raging = Storm(database, random)
    await raging.rage(cancels)
    await database.close()
    await asyncio.to_thread(all_back, server, f"select count(*) {of_ours}")
    return raging.seen


def all_back(server: PostgresAddress, counted: str) -> None:
    end = time.monotonic() + SETTLE_SECONDS
    while server.sql(counted) != "0":
        assert time.monotonic() < end, "every connection is back"
        time.sleep(0.05)


if __name__ == "__main__":
    begun = time.monotonic()
    result = asyncio.run(storm(postgres(), postgres().database(), int(sys.argv[1])))
    print(f"{dict(result)} in {time.monotonic() - begun:.0f} s: no foreign byte")
