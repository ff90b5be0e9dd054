"""The child process: confines itself, then reads files or answers queries for one user only."""

import os
from pathlib import Path
from typing import BinaryIO

import duckdb

from tidings.analysis.importing.errors import ImportRefused
from tidings.analysis.importing.load import load
from tidings.analysis.sandbox import confine, frames, reading
from tidings.analysis.sql import text_literal

_STORED_BYTES_MAX = 64 << 30


def main() -> None:
    """Serve the parent's requests until it closes the pipe."""
    confine.die_with_parent()
    requests, replies = _take_pipes()
    first = _receive(requests)
    if isinstance(first, frames.Import):
        _send(replies, _import(first))
    elif isinstance(first, frames.Open):
        _serve(first, requests, replies)


def _serve(opened: frames.Open, requests: BinaryIO, replies: BinaryIO) -> None:
    engine = reading.new_engine(opened.memory_bytes, opened.threads)
    in_force = _confine(opened.address_space_bytes, 0, [Path(name) for name in opened.files], [])
    try:
        reading.open_files(engine, opened.files)
    except duckdb.Error as error:
        _send(replies, frames.Refused("data_unreadable", reading.sanitised(error)))
        return
    _send(replies, frames.Ready(in_force))
    while isinstance(request := _receive(requests), frames.Query):
        confine.allow_cpu(request.cpu_seconds)
        _send(replies, reading.answer(engine, request))


def _import(request: frames.Import) -> frames.Reply:
    source, scratch = Path(request.source), Path(request.scratch)
    engine = reading.new_engine(request.memory_bytes, request.threads)
    _confine(request.address_space_bytes, _STORED_BYTES_MAX, [source], [scratch])
    try:
        engine.execute(f"set temp_directory = {text_literal(request.scratch)}")
        target = Path(request.target)
        return frames.Imported(
            load(engine, source, request.name, target, request.expanded_bytes_max)
        )
    except ImportRefused as refusal:
        return frames.Refused(refusal.code, refusal.message)
    except (MemoryError, duckdb.OutOfMemoryException):
        return frames.Refused(
            "import_resource_limit", "Reading this file needs more memory than an import may use."
        )
    except (duckdb.Error, OSError, UnicodeError) as error:
        return frames.Refused(
            "file_unreadable", f"The file could not be read: {reading.sanitised(error)}"
        )


def _confine(
    address_space_bytes: int, file_bytes: int, readable: list[Path], writable: list[Path]
) -> dict[str, bool]:
    return {
        "network_namespace": confine.leave_network(),
        "resource_limits": confine.limit_resources(address_space_bytes, file_bytes),
        **confine.restrict_files(readable, writable),
    }


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for ourselves: nothing else that prints may reach the parent."""
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return os.fdopen(requests, "rb"), os.fdopen(replies, "wb")


def _receive(requests: BinaryIO) -> frames.Request | None:
    prefix = requests.read(frames.PREFIX.size)
    if len(prefix) < frames.PREFIX.size:
        return None
    (size,) = frames.PREFIX.unpack(prefix)
    return frames.unpack_request(requests.read(size))


def _send(replies: BinaryIO, reply: frames.Reply) -> None:
    replies.write(frames.pack(reply))
    replies.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # nothing to tidy: the engine's own shutdown only costs time
