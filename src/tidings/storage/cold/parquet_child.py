"""The child that holds the Parquet files: it does one thing after the other until its pipe ends."""

import sys
from pathlib import Path

import duckdb

from tidings.storage.cold.parquet_files import ParquetFiles
from tidings.storage.cold.pipe import (
    AskFiles,
    EraseThreads,
    FilesAnswer,
    FilesRefusal,
    ForgetDays,
    JoinParts,
    KeepPart,
    Reply,
    Request,
    next_request,
    packed,
)
from tidings.storage.cold.records import TABLES

_TABLES = {table.name: table for table in TABLES}
_PASSING = (duckdb.IOException, duckdb.OutOfMemoryException, OSError)
"""Faults that say nothing of the rows."""


def main() -> None:
    """Serve the folder that the command line names."""
    files = ParquetFiles(Path(sys.argv[1]))
    while (request := next_request(sys.stdin.buffer)) is not None:
        sys.stdout.buffer.write(packed(_reply(files, request)))
        sys.stdout.buffer.flush()


def _reply(files: ParquetFiles, request: Request) -> Reply:
    try:
        return FilesAnswer(_do(files, request))
    except (duckdb.Error, OSError) as error:
        is_final = isinstance(request, KeepPart) and not isinstance(error, _PASSING)
        return FilesRefusal(str(error), is_final)


def _do(files: ParquetFiles, request: Request) -> list[list[object]]:
    match request:
        case KeepPart(table, day, name, rows):
            files.put(_TABLES[table], day, name, rows)
        case AskFiles():
            return files.ask(request)
        case EraseThreads():
            files.erase(request)
        case ForgetDays(before):
            files.forget(before)
        case JoinParts():
            files.tidy()
    return []


if __name__ == "__main__":
    main()
