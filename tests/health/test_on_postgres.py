"""A whole application whose PostgreSQL goes away: told, left alone, and taken back by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.postgres import PostgresServer
from tidings.app import build
from tidings.domain.commands import Chat, ChatPayload
from tidings.domain.errors import Unavailable
from tidings.domain.tiers import TierState
from tidings.settings import load

LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    own = PostgresServer()
    yield own
    own.close()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await is_so():  # noqa: ASYNC110 - another process's state cannot set an event
            await asyncio.sleep(LOOK_SECONDS)


def test_a_store_that_goes_is_told_and_left_alone_and_taken_back_when_it_comes(
    tmp_path: Path, server: PostgresServer
) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path, "database_url": server.database()}, {}))
        await app.begin()
        await app.identity.add_user("ana", "a long enough password")
        ana = await app.identity.authenticate(await app.identity.issue_token("ana"))
        health, router = app.services.health, app.services.router

        async def is_in(state: TierState) -> bool:
            return (await health.now()).state is state

        async def rests() -> bool:
            """Tell whether calls are refused without the store being asked."""
            with pytest.raises(Unavailable) as refusal:
                await router.accept(ana, Chat("c2", ChatPayload("again")))
            assert refusal.value.code == "storage_unavailable"
            return refusal.value.retry_after_seconds is not None

        async def takes_back() -> bool:
            try:
                await router.accept(ana, Chat("c2", ChatPayload("again")))
            except Unavailable:
                return False
            return True

        async with app.running():
            first = await router.accept(ana, Chat("c1", ChatPayload("hello")))
            await until(lambda: is_in(TierState.OK))
            server.kill()
            await until(rests)
            await until(lambda: is_in(TierState.DOWN))
            concerns = (await health.now()).concerns
            assert concerns[0].code == "tier_warm"
            assert str(server.port) not in concerns[0].users
            assert not await app.readiness.ready()
            server.start()
            await until(takes_back)
            await until(lambda: is_in(TierState.OK))
            assert await app.readiness.ready()
            again = await router.accept(ana, Chat("c1", ChatPayload("hello")))
            assert (again.run_id, again.duplicate) == (first.run_id, True)
        await app.close()

    asyncio.run(scenario())
