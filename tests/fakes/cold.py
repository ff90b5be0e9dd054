"""A cold store that fails: passes everything on, and fails the inserts that are picked."""

from collections.abc import Awaitable, Callable

from tidings.domain.context import ServerScope
from tidings.domain.errors import Failure, Unavailable
from tidings.storage.cold.parquet import ParquetHistory
from tidings.storage.cold.port import KeptThread
from tidings.storage.cold.records import Batch


class FaultyHistory(ParquetHistory):
    """Fails inserts before they are done, or after: then the caller cannot know that they are.

    `refuses` picks batches that are refused for good. `inserts` counts what was asked, `lasts` is
    what happens while an insert lasts, `asked_since` counts questions for what was kept since.
    """

    fails: Callable[[int], bool] = staticmethod(lambda _: False)
    refuses: Callable[[Batch], bool] = staticmethod(lambda _: False)
    after = False
    inserts = 0
    lasts: Callable[[], Awaitable[object]] | None = None
    asked_since = 0

    async def insert(self, batch: Batch) -> None:
        self.inserts += 1
        if self.refuses(batch):
            raise Failure("cold_refused", "Injected: not of this kind.")
        if self.lasts is not None:
            await self.lasts()
        failing = self.fails(self.inserts)
        if failing and not self.after:
            raise Unavailable("cold_unavailable", "Injected: not kept.")
        await super().insert(batch)
        if failing:
            raise Unavailable("cold_unavailable", "Injected: kept, but the reply is lost.")

    async def kept(self, scope: ServerScope, since: float) -> list[KeptThread]:
        self.asked_since += 1
        return await super().kept(scope, since)

    async def check(self) -> str:
        if self.fails(self.inserts + 1):
            raise Unavailable("cold_unavailable", "Injected: away.")
        return await super().check()
