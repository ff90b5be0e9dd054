"""`tidings move`: from one store to another, while nobody works on either."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import typer

from tidings.app import move
from tidings.cli.serve import only_server
from tidings.domain.errors import InvalidInput
from tidings.settings import Settings, load
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.marks import make_folder
from tidings.storage.moving import Told

TOLD_ROWS = 51_200
"""A line is written for so many rows of a table."""
_FILE = "sqlite:"
_SERVER = ("postgresql://", "postgres://")


def moved(source: str, target: str) -> list[str]:
    """Carry a store; what is said meanwhile is how many rows there are.

    Raises:
        InvalidInput: `bad_store`, `no_store`.
        Conflict: `data_dir_in_use`.
    """
    here, there = _store(source), _store(target)
    if not here.database_url and not (here.data_dir / DATABASE_FILE).is_file():
        raise InvalidInput("no_store", f"There is no database in {here.data_dir}.")
    with ExitStack() as held:
        for end in (here, there):
            if not end.database_url:
                make_folder(end.data_dir, 0o700)
                held.enter_context(only_server(end.data_dir))
        done = asyncio.run(move(here, there, _telling()))
    rows = sum(done.rows.values())
    return [
        f"moved {rows:,} rows of {len(done.rows)} tables; all have arrived as they were",
        "what was moved is still in the source: do not serve it again",
    ]


def _telling() -> Told:
    """Return what tells of each table when it begins, and then of each TOLD_ROWS."""
    told: set[tuple[str, int]] = set()

    def tell(table: str, rows: int) -> None:
        step = (table, rows // TOLD_ROWS)
        if step not in told:
            told.add(step)
            typer.echo(f"{table}: {rows:,} rows")

    return tell


def _store(name: str) -> Settings:
    """Return the settings of a store that the command line names, and no others."""
    if name.startswith(_SERVER):
        return load({"database_url": name}, {})
    folder = name.removeprefix(_FILE)
    if folder in {name, ""}:
        raise InvalidInput(
            "bad_store", "A store is `sqlite:` and a data directory, or `postgresql://...`."
        )
    return load({"data_dir": Path(folder)}, {})
