"""From `tidings serve` to its ready line, and the memory it idles in."""

import subprocess
import sys
import tempfile
import time

from bench.processes import SERVER_CORE, memory_mib, on_core
from bench.tables import table

STARTS = 3
IDLE_SECONDS = 2.0


def one(folder: str) -> tuple[float, float]:
    """Return the seconds to ready and the MiB when idle."""
    serve = (sys.executable, "-m", "tidings", "serve", "--data-dir", folder, "--port", "0")
    begun = time.monotonic()
    with subprocess.Popen(on_core(SERVER_CORE, *serve), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready ")
        ready = time.monotonic() - begun
        time.sleep(IDLE_SECONDS)
        memory = memory_mib(process.pid)
        process.terminate()
    return ready, memory


async def report() -> str:
    fresh, existing = [], []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
            fresh.append(one(folder))
            existing.append(one(folder))
    rows = [[name, *min(both)] for name, both in (("fresh", fresh), ("existing", existing))]
    return table("Start", ["data directory", "ready, s", "idle, MiB"], rows)
