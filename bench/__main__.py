"""Measure everything and print the tables; or only the PARTS that are named."""

import asyncio
import os
import sys

import uvloop

from bench import delivery, returning, runs, slow, start, tiers, warm
from bench.processes import LOAD_CORE

PARTS = {
    "delivery": delivery.report,
    "returning": returning.report,
    "runs": runs.report,
    "slow": slow.report,
    "start": start.report,
    "tiers": tiers.report,
    "warm": warm.report,
}


async def main() -> None:
    if os.cpu_count() != 1:
        os.sched_setaffinity(0, {LOAD_CORE})
    for name in sys.argv[1:] or PARTS:
        print(await PARTS[name](), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
