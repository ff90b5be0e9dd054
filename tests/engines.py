"""Runs the stores' suites on releases of the engines that the wheels do not bring.

`make test-engines`: each engine that this machine has, one after another; one that it has not is
said by name. Other places than Debian's are named by `POSTGRES_16=FOLDER`,
`REDIS_6=FOLDER`. Each takes some minutes, and is ended after SUITE_SECONDS_MAX.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SUITE_SECONDS_MAX = 1_200
EVENTS = "tests/mission_critical/test_websocket_agent_events_suite.py"
WARM = ("tests/storage", "tests/faults/test_postgres.py", "tests/deploy/test_roles.py")
HOT = ("tests/hot",)


@dataclass(frozen=True, slots=True)
class Engine:
    """A program of this machine, and the variable by which the tests take it."""

    name: str
    variable: str
    place: str
    program: str
    package: str
    suites: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        return Path(self.place, self.program).exists()

    @property
    def setting(self) -> str:
        """What the variable is set to: the folder of PostgreSQL's programs, or the one of Redis."""
        return self.place if self.program == "postgres" else str(Path(self.place, self.program))


def engines() -> list[Engine]:
    """Return those that are promised, wherever they may be."""
    found = [
        Engine(
            f"PostgreSQL {major}",
            "TIDINGS_TEST_POSTGRES",
            os.environ.get(f"POSTGRES_{major}", f"/usr/lib/postgresql/{major}/bin"),
            "postgres",
            f"postgresql-{major}",
            WARM,
        )
        for major in (15, 16, 17)
    ]
    places = {"6.2": os.environ.get("REDIS_6", ""), "7": os.environ.get("REDIS_7", "/usr/bin")}
    return found + [
        Engine(f"Redis {release}", "TIDINGS_TEST_REDIS", place, "redis-server", "redis-server", HOT)
        for release, place in places.items()
    ]


def main() -> int:
    """Run every suite, and return whether one failed."""
    failed = []
    for engine in engines():
        if not engine.is_here:
            print(f"==== {engine.name}: skipped, not on this machine ({engine.package})")
        elif not holds(engine.name, engine.suites, {engine.variable: engine.setting}):
            failed.append(engine.name)
    here = [engine for engine in engines() if engine.is_here]
    oldest = {engine.variable: engine.setting for engine in reversed(here)}
    tiers = {"TIDINGS_TEST_TIERS": "postgres+valkey"}
    if not holds("a server on the oldest of them", (EVENTS,), oldest | tiers):
        failed.append("a server on the oldest of them")
    print(f"==== failed: {', '.join(failed)}" if failed else "==== all is well")
    return len(failed)


def holds(name: str, suites: tuple[str, ...], variables: dict[str, str]) -> bool:
    """Run suites with an engine, within SUITE_SECONDS_MAX."""
    told = " ".join(f"{key}={value}" for key, value in variables.items())
    print(f"==== {name}: {told or 'the wheels'}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", *suites, *sys.argv[1:]]
    try:
        done = subprocess.run(
            command, env=os.environ | variables, check=False, timeout=SUITE_SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        print(f"not done after {SUITE_SECONDS_MAX} s")
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
