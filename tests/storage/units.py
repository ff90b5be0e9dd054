"""Units of work on users, and a store to do them in."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.stores import store_in
from tidings.storage.warm.port import Store, Transaction


def run(
    path: Path, engine: str, scenario: Callable[[Store, list[object]], Coroutine[Any, Any, Any]]
) -> Any:
    async def whole() -> Any:
        notes: list[object] = []
        database = store_in(path, notes.append, engine)
        try:
            return await scenario(database, notes)
        finally:
            await database.close()

    return asyncio.run(whole())


async def put(tx: Transaction, name: str) -> None:
    await tx.execute(
        "insert into users (user_id, tenant_id, name, password_hash, created_at)"
        " values (?, 'x', ?, '', 0)",
        name,
        name,
    )
    tx.announce(name)


async def names(tx: Transaction) -> list[str]:
    return [name for (name,) in await tx.execute("select name from users order by name")]
