"""F17 to F21, as far as hints within a process can show them: the log decides, hints only wake."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.devices import device, eventually
from tests.faults.pairs import both_see
from tests.faults.served import served
from tests.faults.spoilt import SpoiltHints
from tests.harness.stored import stored_streams
from tests.invariants import check

SPOILT = {
    "f17 all are lost": lambda: SpoiltHints(lost=1.0),
    "f20 half are lost": lambda: SpoiltHints(lost=0.5),
    "f20 all come twice": lambda: SpoiltHints(lost=0.0, doubled=1.0),
    "f20 late and in any order": lambda: SpoiltHints(lost=0.2, doubled=0.3, late_seconds=0.3),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_f17_f20_whatever_becomes_of_hints_nothing_is_missing_or_moved(
    tmp_path: Path, spoil: Callable[[], SpoiltHints]
) -> None:
    async def scenario() -> None:
        async with served(tmp_path, hints=spoil()) as server:
            await both_see(tmp_path, server, server, "tell 60 0.01")

    asyncio.run(scenario())


def test_f18_what_the_hub_forgets_is_read_from_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as server:
            ana, token = await server.user("ana")
            async with device(server.url, ana, token, "d1") as client:
                receipt = await client.ask("tell 80 0.01", "m1")
                for _ in range(6):
                    await client.more()
                    for tail in server.world.feed._tails.values():
                        tail._entries.clear()
                        tail._bytes = 0
                await client.until_end(receipt)
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)

    asyncio.run(scenario())


def test_f19_a_follower_that_no_hint_reaches_polls_while_others_are_woken(tmp_path: Path) -> None:
    """Two feeds on one store: the hints of what is committed reach only one of them."""

    async def scenario() -> None:
        async with served(tmp_path) as server, served(tmp_path, hints=SpoiltHints(lost=1.0)) as cut:
            await both_see(tmp_path, server, cut, "tell 30 0.01")

    asyncio.run(scenario())


def test_f21_slow_hints_hold_up_neither_commands_nor_commits(tmp_path: Path) -> None:
    async def scenario() -> None:
        hints = SpoiltHints(lost=0.0, late_seconds=60.0)
        async with served(tmp_path, hints=hints) as server:
            ana, token = await server.user("ana")
            async with device(server.url, ana, token, "d1") as client:
                receipts = [await client.ask("tell 3 0", f"m{n}") for n in range(5)]
                await client.until_end(*receipts)
                assert hints.delivered < client.count  # the poll was faster than the hints
            check(stored_streams(tmp_path), [client.history], at_head=True, ended=True, proven=True)
            assert not server.world.feed._tails
            await eventually(lambda: len(server.presence) == 0)

    asyncio.run(scenario())
