"""Duties: what one process does at a time, of all that work on the same store.

A duty saves work, it guards nothing: whoever was paused may find that another has taken it over in
the middle. What is done under one must be right when two do it.
"""

from tidings.domain.context import SERVER
from tidings.domain.ports import Clock
from tidings.storage.warm.port import Database, Transaction


class Duty:
    """One duty, as one process sees it. Not kept for `seconds`, it goes to whoever asks next."""

    def __init__(
        self, database: Database, clock: Clock, name: str, owner: str, seconds: float
    ) -> None:
        self._database = database
        self._clock = clock
        self._name = name
        self._owner = owner
        self._seconds = seconds

    async def mine(self) -> bool:
        """Take the duty if it is free, keep it if it is ours; tell whether it is ours now."""
        now = self._clock.now()

        async def work(tx: Transaction) -> bool:
            return bool(
                await tx.execute(
                    "insert into duties (name, owner, held_until) values (?, ?, ?)"
                    " on conflict (name) do update"
                    "  set owner = excluded.owner, held_until = excluded.held_until"
                    "  where duties.owner = excluded.owner or duties.held_until < ? returning 1",
                    self._name,
                    self._owner,
                    now + self._seconds,
                    now,
                )
            )

        return await self._database.write(SERVER, work)
