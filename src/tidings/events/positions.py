"""How far each device has applied each stream; written lazily, for losing one costs little."""

from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.storage.warm.port import Database, Transaction

POSITIONS_PER_COMMIT_MAX = 100
"""So few that events need not wait for them."""

Key = tuple[str, str, str]
"""User, device, stream."""


class Positions:
    """Gathers acknowledgements and stores them together."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._fresh: dict[Key, int] = {}

    def acknowledge(self, context: UserContext, device: str, positions: dict[str, int]) -> None:
        """Take note; a lower offset than before, or one that is not there, changes nothing."""
        for stream, offset in positions.items():
            key = (context.user_id, device, stream)
            self._fresh[key] = max(offset, self._fresh.get(key, 0))

    async def store(self) -> None:
        """Write what was noted since the last time.

        Raises:
            Unavailable: not now; what was noted is kept for the next time.
        """
        fresh, self._fresh = self._fresh, {}
        noted = list(fresh.items())
        for start in range(0, len(noted), POSITIONS_PER_COMMIT_MAX):
            try:
                await self._write(noted[start : start + POSITIONS_PER_COMMIT_MAX])
            except Unavailable:
                for key, offset in noted[start:]:
                    self._fresh[key] = max(offset, self._fresh.get(key, 0))
                raise

    async def _write(self, noted: list[tuple[Key, int]]) -> None:
        now = self._clock.now()

        async def work(tx: Transaction) -> None:
            await tx.execute_many(
                'insert into positions (user_id, device, stream, "offset", acknowledged_at)'
                " select ?, ?, ?, ?, ? where exists"
                " (select 1 from streams where stream = ? and user_id = ? and head >= ?)"
                " on conflict (user_id, device, stream) do update"
                ' set "offset" = excluded."offset", acknowledged_at = excluded.acknowledged_at'
                ' where excluded."offset" > positions."offset"',
                [
                    (user_id, device, stream, offset, now, stream, user_id, offset)
                    for (user_id, device, stream), offset in noted
                ],
            )

        await self._database.write(SERVER, work)
