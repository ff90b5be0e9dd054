"""The tiers that a session of tests runs on; `make test-tiers` goes through them.

`TIDINGS_TEST_TIERS` names them, `embedded` without it. A test marked `embedded` is about what only
that set has, its files, and is left out of a session on another.
"""

import os
import shutil
from functools import cache
from pathlib import Path

from tests.harness.postgres import postgres
from tests.harness.temporal import temporal
from tests.harness.valkey import valkey
from tidings.settings import Settings, load

SETS = ("embedded", "postgres", "postgres+valkey", "fleet")
"""`fleet`: two gateways and two workers on PostgreSQL and Valkey, with Temporal."""
TIERS = os.environ.get("TIDINGS_TEST_TIERS", "embedded")
ENGINE = "sqlite" if TIERS == "embedded" else "postgres"

assert TIERS in SETS, f"TIDINGS_TEST_TIERS must be one of {', '.join(SETS)}"
if ENGINE == "postgres":
    postgres()  # before anybody starts a program that needs to find it
if TIERS == "fleet":
    temporal()


@cache
def database_of(folder: Path) -> str:
    """Return the URL of the PostgreSQL database that stands for a data folder."""
    return postgres().database_of(folder)


def variables_of(data_dir: Path) -> dict[str, str]:
    """Return the settings that put what a data folder stands for on this session's tiers."""
    variables = {"TIDINGS_DATA_DIR": str(data_dir)}
    if TIERS != "embedded":
        variables["TIDINGS_DATABASE_URL"] = database_of(data_dir)
    if TIERS in {"postgres+valkey", "fleet"}:
        variables["TIDINGS_HOT_URL"] = valkey().url
    if TIERS == "fleet":
        variables["TIDINGS_TEMPORAL_ADDRESS"] = temporal().address
        variables["TIDINGS_TEMPORAL_QUEUE"] = f"runs of {data_dir}"
    return variables


def settings_of(data_dir: Path, **chosen: str) -> Settings:
    """Return the settings of an application on this session's tiers."""
    return load(chosen, variables_of(data_dir))


def copy_store(folder: Path, target: Path) -> None:
    """Copy a data folder, and what it has in a database, while nobody works on it."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    if ENGINE == "postgres":
        postgres().copy_of(folder, target)


def forget(folder: Path) -> None:
    """Remove the databases of a folder and of all below it."""
    if postgres.cache_info().currsize:
        postgres().drop_all_of(folder)
        database_of.cache_clear()
