"""Room at a tool server: bounded, also for a user; who has least is next, nobody waits long."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tidings.domain.errors import Unavailable
from tidings.tools.mcp import room as rooms
from tidings.tools.mcp.room import (
    CALLS_AT_ONCE_MAX,
    CALLS_OF_USER_MAX,
    CALLS_WAITING_MAX,
    FairRoom,
)


class Crowd:
    """Users who want calls made, and who stay inside until they are sent out."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.room = FairRoom("test")
        self.inside: list[str] = []
        self.refused: list[str] = []
        self._tasks = tasks
        self._ends: dict[str, list[asyncio.Event]] = {}

    async def wants(self, user: str, times: int = 1) -> list[asyncio.Task[None]]:
        made = [self._tasks.create_task(self._calls(user)) for _ in range(times)]
        await settled()
        return made

    async def ends(self, user: str) -> None:
        self._ends[user].pop(0).set()
        await settled()

    async def everybody_ends(self) -> None:
        while any(self._ends.values()):
            for user in list(self._ends):
                if self._ends[user]:
                    await self.ends(user)

    async def _calls(self, user: str) -> None:
        try:
            async with self.room.entered(user):
                self.inside.append(user)
                end = asyncio.Event()
                self._ends.setdefault(user, []).append(end)
                await end.wait()
                self.inside.remove(user)
        except Unavailable as error:
            self.refused.append(error.code)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def played(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_one_user_never_has_all_the_room() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(tasks)
            await crowd.wants("ana", 20)
            assert crowd.inside == ["ana"] * CALLS_OF_USER_MAX
            await crowd.wants("bob")
            assert crowd.inside[-1] == "bob"
            await crowd.everybody_ends()
            assert (crowd.room.inside, crowd.room.waiting) == (0, 0)

    played(scenario())


def test_who_has_least_inside_is_next() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(tasks)
            await crowd.wants("ana", 6)
            await crowd.wants("bob", 6)
            assert len(crowd.inside) == CALLS_AT_ONCE_MAX
            await crowd.wants("eve")
            assert "eve" not in crowd.inside
            await crowd.ends("ana")
            assert crowd.inside.count("eve") == 1
            assert crowd.inside.count("ana") == CALLS_OF_USER_MAX - 1
            await crowd.everybody_ends()

    played(scenario())


def test_who_leaves_while_waiting_takes_no_room_with_them() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(tasks)
            made = await crowd.wants("ana", CALLS_OF_USER_MAX + 2)
            made[-1].cancel()
            made[0].cancel()
            await settled()
            assert (crowd.room.inside, crowd.room.waiting) == (CALLS_OF_USER_MAX, 0)
            for task in made:
                task.cancel()
            await settled()
            assert crowd.room.inside == 0

    played(scenario())


def test_too_many_are_refused_with_a_hint() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(tasks)
            await crowd.wants("ana", CALLS_OF_USER_MAX + CALLS_WAITING_MAX)
            assert crowd.refused == []
            await crowd.wants("ana")
            assert crowd.refused == ["tool_server_busy"]
            await crowd.everybody_ends()

    played(scenario())


def test_nobody_waits_for_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "WAIT_SECONDS_MAX", 0.05)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(tasks)
            await crowd.wants("ana", CALLS_OF_USER_MAX)
            for waiting in await crowd.wants("ana", 10):
                await waiting
            assert crowd.refused == ["tool_server_busy"] * 10
            assert crowd.room.waiting == 0
            await crowd.everybody_ends()

    played(scenario())


def test_all_may_be_cut_off_at_once() -> None:
    """Who is inside leaves before those who wait have heard that they are cut off."""

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(tasks)
            made = await crowd.wants("ana", CALLS_OF_USER_MAX + 10)
            for call in made:
                call.cancel()
            ended = await asyncio.gather(*made, return_exceptions=True)
            assert {type(end) for end in ended} == {asyncio.CancelledError}
            assert (crowd.room.inside, crowd.room.waiting) == (0, 0)

    played(scenario())
