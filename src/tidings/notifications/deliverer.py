"""Calls webhooks: what is due, a bounded number at once, again until it is taken or given up."""

import asyncio
import logging
from contextlib import suppress
from random import Random

from tidings.domain.context import SERVER
from tidings.domain.errors import TidingsError, Unavailable
from tidings.domain.ports import Clock
from tidings.egress.http import Egress, Outbound
from tidings.health.metrics import Metrics
from tidings.notifications import deliveries
from tidings.notifications.deliveries import Answer, Delivery
from tidings.notifications.dispatcher import DeliveriesQueued
from tidings.notifications.signing import signed_headers
from tidings.storage.hot.port import Hints
from tidings.storage.warm.port import Database

POLL_SECONDS = 1.0
CALLS_AT_ONCE_MAX = 32

_log = logging.getLogger(__name__)


class Deliverer:
    """Claims deliveries and makes them. An attempt that is not recorded is made again."""

    def __init__(
        self,
        database: Database,
        hints: Hints,
        egress: Egress,
        metrics: Metrics,
        clock: Clock,
        random: Random,
    ) -> None:
        self._database = database
        self._egress = egress
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._under_way = 0
        self._changed = asyncio.Event()
        hints.listen(DeliveriesQueued, lambda _: self._changed.set())

    async def run(self) -> None:
        """Claim and call, for ever."""
        async with self._egress.opened() as outbound, asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                await self.call_due(outbound, tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._changed.wait()

    async def call_due(self, outbound: Outbound, tasks: asyncio.TaskGroup) -> None:
        """Begin the calls that are due, as many as there is room for."""
        for delivery in await self._claim():
            tasks.create_task(self._deliver(outbound, delivery))

    async def _claim(self) -> list[Delivery]:
        free = CALLS_AT_ONCE_MAX - self._under_way
        if free == 0:
            return []
        now = self._clock.now()
        try:
            claimed = await self._database.write(SERVER, lambda tx: deliveries.claim(tx, now, free))
        except Unavailable:
            return []  # the next poll tries again
        self._under_way += len(claimed)
        return claimed

    async def _deliver(self, outbound: Outbound, delivery: Delivery) -> None:
        try:
            answer = await self._call(outbound, delivery)
            await self._settle(delivery, answer)
        finally:
            self._under_way -= 1
            self._changed.set()

    async def _call(self, outbound: Outbound, delivery: Delivery) -> Answer:
        timestamp = int(self._clock.now())
        headers = signed_headers(delivery.secret, delivery.event_id, timestamp, delivery.body)
        headers |= {"content-type": "application/json", "user-agent": "tidings"}
        try:
            return Answer(status=await outbound.post(delivery.url, headers, delivery.body))
        except TidingsError as error:
            return Answer(error=error.code)

    async def _settle(self, delivery: Delivery, answer: Answer) -> None:
        now, chance = self._clock.now(), self._random.random()
        try:
            state = await self._database.write(
                SERVER, lambda tx: deliveries.settle(tx, delivery, answer, chance, now)
            )
        except Unavailable:
            _log.warning("delivery of %s was not recorded; it is made again", delivery.event_id)
            return
        if state is not None:
            self._metrics.webhook_deliveries.labels(_OUTCOMES[state]).inc()


_OUTCOMES = {"delivered": "delivered", "pending": "retried", "dead": "dead"}
