"""What a rolling upgrade stands on: older nodes work on while the schema is ahead."""

import asyncio
import random
import re

import pytest

from tests.harness.postgres import postgres
from tidings.domain.context import SERVER
from tidings.domain.errors import Unavailable
from tidings.storage.warm.migrations import scripts
from tidings.storage.warm.port import Transaction
from tidings.storage.warm.postgres.database import PostgresDatabase


def test_scripts_take_nothing_away_that_older_nodes_use() -> None:
    for _, script in scripts():
        said = re.sub(r"--.*", "", script).lower()
        assert not re.search(r"\bdrop (table|column)\b|\brename\b|\balter column\b", said)
        for added in re.findall(r"add column[^;]*", said):
            assert "not null" not in added or "default" in added, added


def test_a_node_works_on_when_the_schema_gets_ahead_and_a_new_one_of_its_version_refuses() -> None:
    url = postgres().database()

    async def upgraded() -> None:
        older, restarted = (PostgresDatabase(url, print, random.Random(1)) for _ in range(2))
        try:
            await older.write(SERVER, _work)
            postgres().sql("update tidings_schema set version = version + 1", url.split("/")[-1])
            await older.write(SERVER, _work)
            with pytest.raises(Unavailable) as refused:
                await restarted.write(SERVER, _work)
            assert refused.value.code == "store_too_new"
        finally:
            await older.close()
            await restarted.close()

    asyncio.run(upgraded())
    postgres().drop(url)


async def _work(tx: Transaction) -> None:
    await tx.execute("delete from duties where name = ?", "none of these")
