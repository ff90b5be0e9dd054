"""The tiers: the one place that picks the adapters which keep data, by the settings.

A tier's module is imported where its setting names it: a server on embedded defaults loads no
client of a server that it does not use.
"""

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tidings.domain.errors import InvalidInput
from tidings.domain.ports import Clock, IdSource
from tidings.domain.tiers import Tier
from tidings.events.lineage import Continuity, Lineage
from tidings.events.shared_lineage import SharedLineage
from tidings.health.metrics import Metrics
from tidings.health.parts import Part
from tidings.history.exporter import SELDOM, STEADY, ExportPolicy
from tidings.scheduling.port import Scheduler, Unscheduled
from tidings.settings import Settings
from tidings.storage import backups, marks, moving
from tidings.storage.backups import DATABASE_FILE, HISTORY, BackedUp, Restored
from tidings.storage.cold.parquet import ParquetHistory
from tidings.storage.cold.port import ColdStore
from tidings.storage.hot.memory import (
    LocalHints,
    LocalOnce,
    LocalPrecedence,
    LocalRates,
    LocalTier,
)
from tidings.storage.hot.port import Hints, Once, Precedence, Rates
from tidings.storage.moving import Moved, Told
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.port import Store
from tidings.storage.warm.sqlite import SqliteDatabase
from tidings.storage.warm.sqlite_file import SqliteFile
from tidings.system import SystemClock


@dataclass(frozen=True, slots=True)
class Hot:
    """The hot tier: hints, and what is only worth keeping for seconds; `parts` keep it going."""

    tier: Tier
    hints: Hints
    once: Once
    rates: Rates
    precedence: Precedence
    parts: dict[str, Part]


@dataclass(frozen=True, slots=True)
class Cold:
    """The cold tier: history, which may lag; and how it is fed."""

    store: ColdStore
    policy: ExportPolicy


@dataclass(frozen=True, slots=True)
class Tiers:
    """Where data are kept: the truth, and what may be lost; and who brings runs to workers.

    `alone`: nobody but this process works on them; `parts` keep its clock where others do.
    """

    alone: bool
    parts: dict[str, Part]
    warm: Store
    lineage: Continuity
    hot: Hot
    cold: Cold
    scheduler: Scheduler


def open_tiers(
    settings: Settings, clock: StoreClock, ids: IdSource, key: bytes, metrics: Metrics
) -> Tiers:
    """Open what the settings name. `key` is the installation's.

    Raises:
        Unavailable: the store cannot be opened.
        InvalidInput: `bad_setting`: a setting names no server that could be used.
    """
    hot = _hot(settings, clock, key, metrics)
    store, lineage, parts = _warm(settings, hot.hints, clock, ids)
    scheduler = _scheduler(settings, clock)
    return Tiers(settings.alone, parts, store, lineage, hot, _cold(settings), scheduler)


def _warm(
    settings: Settings, hints: Hints, clock: StoreClock, ids: IdSource
) -> tuple[Store, Continuity, dict[str, Part]]:
    if not settings.database_url:
        store = SqliteDatabase.open(settings.data_dir / DATABASE_FILE, hints.publish)
        return store, Lineage(store, clock, ids, settings.data_dir), {}
    # Only those who have such a server should wait for its client.
    from tidings.storage.warm.postgres.database import (  # noqa: PLC0415 - half a second
        PostgresDatabase,
    )

    chance = random.Random()  # noqa: S311 - spreads retries, keeps no secret
    url, most = settings.database_url, settings.database_connections
    lineage = SharedLineage(clock, ids, hints)
    shared = PostgresDatabase(url, hints.publish, chance, most, arrivals=lineage)
    return shared, lineage, {"clock": partial(clock.keep, shared.time)}


def _hot(settings: Settings, clock: Clock, key: bytes, metrics: Metrics) -> Hot:
    if not settings.hot_url:
        once, rates = LocalOnce(clock), LocalRates(clock)
        return Hot(LocalTier(), LocalHints(), once, rates, LocalPrecedence(), {})
    # Only those who have such a server should wait for its client.
    from tidings.storage.hot.valkey import Valkey  # noqa: PLC0415 - half a second to import

    server = Valkey(settings.hot_url, key, clock, random.Random(), metrics.note)  # noqa: S311
    parts = {"hot tier": server.run}
    return Hot(server, server.hints, server.once, server.rates, server.precedence, parts)


def _cold(settings: Settings) -> Cold:
    if not settings.cold_url:
        store = ParquetHistory(settings.data_dir / HISTORY)
        return Cold(store, replace(SELDOM, keep_seconds=settings.history_seconds))
    # Only those who have such a server should wait for its client.
    from tidings.storage.cold.clickhouse import (  # noqa: PLC0415 - a third of a second to import
        ClickHouseHistory,
    )

    policy = replace(STEADY, keep_seconds=settings.history_seconds)
    return Cold(ClickHouseHistory(settings.cold_url), policy)


def _scheduler(settings: Settings, clock: Clock) -> Scheduler:
    if not settings.temporal_address:
        return Unscheduled()
    # Only those who have such a server should wait for its client.
    from tidings.scheduling.frontend import Frontend  # noqa: PLC0415 - a second to import
    from tidings.scheduling.temporal import TemporalScheduler  # noqa: PLC0415 - a second to import

    frontend = Frontend(
        settings.temporal_address,
        settings.temporal_namespace,
        settings.temporal_api_key,
        settings.temporal_ca_file,
        settings.temporal_cert_file,
        settings.temporal_cert_key_file,
    )
    return TemporalScheduler(frontend, settings.temporal_queue, clock)


async def migrate(settings: Settings) -> int:
    """Bring the store's schema up to date, as its owner; return how many scripts that took.

    A store of files has done so whenever it is opened.
    """
    if settings.database_url:
        from tidings.storage.warm.postgres.schema import (  # noqa: PLC0415 - half a second
            migrate as migrate_postgres,
        )

        return await migrate_postgres(settings.database_url)
    await SqliteDatabase.open(settings.data_dir / DATABASE_FILE, LocalHints().publish).close()
    return 0


def back_up(settings: Settings, target: Path) -> BackedUp:
    """Write a backup of everything into a new folder, also while a server is at work.

    Raises:
        InvalidInput: `store_elsewhere`: the truth is not in the data directory.
    """
    _check_is_here(settings)
    return backups.back_up(settings.data_dir, target, SqliteFile)


def restore(settings: Settings, source: Path) -> Restored:
    """Put a backup in the place of everything; the caller makes sure that no server is at work.

    Raises:
        InvalidInput: `store_elsewhere`: the truth is not in the data directory.
    """
    _check_is_here(settings)
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    aside = settings.data_dir / f"replaced-{now:%Y%m%dT%H%M%S%fZ}"
    return backups.restore(source, settings.data_dir, aside, SqliteFile)


async def move(source: Settings, target: Settings, told: Told) -> Moved:
    """Carry everything from one store to another, which is empty, and verify it.

    The caller makes sure that no server is at work in either's data directory.

    Raises:
        Conflict: `store_in_use`: a server works on PostgreSQL; and what `moving.move` raises.
        Unavailable: `store_outdated`, `store_too_new`: one is not of this version.
    """
    async with AsyncExitStack() as opened:
        here, there = [await _at_rest(end, opened) for end in (source, target)]
        done = await moving.move(here, there, told)
    for end, closing in ((target, True), (source, None)):
        if not end.database_url:  # what is left in the source is older from now on
            marks.put_mark(end.data_dir, done.mark, closing=closing)
    return done


async def _at_rest(settings: Settings, opened: AsyncExitStack) -> Store:
    """Open a store that no server works on, as it is, and look at it."""
    store: Store
    if settings.database_url:
        # Only those who have such a server should wait for its client.
        from tidings.storage.warm.postgres.database import (  # noqa: PLC0415 - half a second
            PostgresDatabase,
        )
        from tidings.storage.warm.postgres.sessions import (  # noqa: PLC0415 - half a second
            refuse_while_served,
        )

        await refuse_while_served(settings.database_url)
        chance = random.Random()  # noqa: S311 - spreads retries, keeps no secret
        store = PostgresDatabase(settings.database_url, LocalHints().publish, chance, 1)
    else:
        path = settings.data_dir / DATABASE_FILE
        if path.exists():
            SqliteFile(path).check_version()
        store = SqliteDatabase.open(path, LocalHints().publish)
    opened.push_async_callback(store.close)
    await store.check()
    return store


def _check_is_here(settings: Settings) -> None:
    if settings.database_url:
        raise InvalidInput(
            "store_elsewhere",
            "The truth is in PostgreSQL: back it up and restore it there; see docs/operations.md.",
        )
