"""What a user has spent today, and what may be spent."""

from typing import Any

from tidings.domain.budgets import Plans
from tidings.domain.context import UserContext
from tidings.domain.ports import Clock
from tidings.runs import spending
from tidings.storage.warm.port import Database, Transaction


class Spending:
    """Shows a user's own day."""

    def __init__(self, database: Database, clock: Clock, plans: Plans) -> None:
        self._database = database
        self._clock = clock
        self._plans = plans

    async def today(self, context: UserContext) -> dict[str, Any]:
        """Return the day (UTC), what was spent, what is reserved now, and the limits."""
        day = spending.day_of(self._clock.now())

        async def work(tx: Transaction) -> dict[str, Any]:
            return {
                "day": day,
                "spent": await spending.spent(tx, context, day),
                "reserved": await spending.reserved(tx, context, day),
                "limits": self._plans.budget(context),
            }

        return await self._database.read(context, work)
