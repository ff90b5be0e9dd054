"""Two devices of one user, at one server or at two, that see the same run."""

from pathlib import Path

from tests.faults.devices import device
from tests.faults.served import Served
from tests.harness.stored import stored_streams
from tests.invariants import check


async def both_see(folder: Path, one: Served, two: Served, text: str) -> None:
    """Ask at one server, follow at the other; both are shown all of it, as it was stored."""
    ana, token = await one.user("ana")
    async with (
        device(one.url, ana, token, "d1") as first,
        device(two.url, ana, token, "d2") as second,
    ):
        receipt = await first.ask(text, "m1")
        await second.session.follow(f"thread:{receipt.thread_id}")
        await first.until_end(receipt)
        await second.until_end(receipt)
    log = stored_streams(folder)
    check(log, [first.history, second.history], at_head=True, ended=True, proven=True)
