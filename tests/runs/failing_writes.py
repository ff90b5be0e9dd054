"""A whole run, again and again: each time the next of its transactions fails."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tests.fakes.ports import FaultyDatabase
from tidings.domain.errors import Unavailable
from tidings.storage.warm.port import Database

RUNS_MAX = 30

R = TypeVar("R")
Wrap = Callable[[Database], FaultyDatabase]
Scene = Callable[[Path, Wrap], Awaitable[None]]


async def each_write_fails(folder: Path, scene: Scene, *, after: bool, writes_min: int) -> None:
    """Play the scene once for each write that it makes, that write failing, then once in peace.

    `after` says whether the write was committed all the same. A scene of no more than `writes_min`
    writes shows less than it says.
    """
    for failing in range(2, RUNS_MAX):  # the first prepares the store
        path = folder / str(failing)
        path.mkdir()
        if await _writes(path, scene, failing, after) < failing:
            assert failing > writes_min + 1
            return
    raise AssertionError("the sweep never ran past the end of the run")


async def _writes(path: Path, scene: Scene, failing: int, after: bool) -> int:
    made: list[FaultyDatabase] = []

    def wrap(inner: Database) -> FaultyDatabase:
        made.append(FaultyDatabase(inner, lambda write: write == failing, after=after))
        return made[0]

    await scene(path, wrap)
    return made[0].writes


async def insisting(saying: Callable[[], Awaitable[R]]) -> R:
    """Say something, and once more if it was not answered, as clients do."""
    try:
        return await saying()
    except Unavailable:
        return await saying()
