"""The tools that were accepted, as they were then: a server that changes one must be looked at."""

import msgspec

from tidings.domain.context import SERVER
from tidings.domain.ports import Clock
from tidings.storage.warm.port import Database, Transaction
from tidings.tools.mcp.listing import Listed


class Pins:
    """Remembers tools as they were accepted."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def accepted(self, server: str) -> dict[str, Listed]:
        """Return the accepted tools of a server, by name."""

        async def work(tx: Transaction) -> dict[str, Listed]:
            return await _accepted(tx, server)

        return await self._database.read(SERVER, work)

    async def meet(self, server: str, tools: dict[str, Listed]) -> dict[str, Listed]:
        """Return the accepted tools of a server; of one never seen before, all are accepted."""

        async def work(tx: Transaction) -> dict[str, Listed]:
            accepted = await _accepted(tx, server)
            if accepted:
                return accepted
            await _accept(tx, server, tools, self._clock.now())
            return tools

        return await self._database.write(SERVER, work)

    async def accept(self, server: str, tools: dict[str, Listed]) -> None:
        """Accept these tools of a server, and no others."""

        async def work(tx: Transaction) -> None:
            await tx.execute("delete from tool_pins where server = ?", server)
            await _accept(tx, server, tools, self._clock.now())

        await self._database.write(SERVER, work)


async def _accepted(tx: Transaction, server: str) -> dict[str, Listed]:
    rows = await tx.execute(
        "select tool, description, schema from tool_pins where server = ? order by tool", server
    )
    return {
        name: Listed(name, description, msgspec.json.decode(schema))
        for name, description, schema in rows
    }


async def _accept(tx: Transaction, server: str, tools: dict[str, Listed], now: float) -> None:
    await tx.execute_many(
        "insert into tool_pins (server, tool, digest, description, schema, accepted_at)"
        " values (?, ?, ?, ?, ?, ?)",
        [
            (
                server,
                tool.name,
                tool.digest,
                tool.description,
                msgspec.json.encode(tool.schema).decode(),
                now,
            )
            for tool in tools.values()
        ],
    )
