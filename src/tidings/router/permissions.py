"""What a user lets tools do: shown, and changed by the user alone."""

from collections.abc import Mapping
from typing import Any

from tidings.domain.context import UserContext
from tidings.domain.permissions import Permission
from tidings.runs import permissions
from tidings.storage.warm.port import Database, Transaction
from tidings.tools.catalogue import Catalogue


class Permissions:
    """A user's word about tools. It holds from a run's next attempt on."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def shown(self, context: UserContext) -> list[dict[str, Any]]:
        """Return every tool with its effect and what the user has said; null: nothing."""
        told = await self._database.read(context, lambda tx: permissions.told(tx, context))
        return [
            {
                "tool": tool.name,
                "effect": tool.effect,
                "description": tool.description.partition("\n")[0],
                "permission": told.get(tool.name),
            }
            for tool in sorted(self._catalogue, key=lambda tool: tool.name)
        ]

    async def tell(
        self, context: UserContext, changes: Mapping[str, Permission | None]
    ) -> list[dict[str, Any]]:
        """Store what the user says about some tools; None takes it back.

        Raises:
            InvalidInput: `unknown_tool`.
        """
        for name in changes:
            self._catalogue.named(name)

        async def work(tx: Transaction) -> None:
            await permissions.tell(tx, context, changes)

        await self._database.write(context, work)
        return await self.shown(context)
