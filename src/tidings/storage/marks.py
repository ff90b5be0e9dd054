"""Small facts in files beside the store: written whole or not at all, and synced to disk."""

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from tidings.domain.errors import Unusable

MARK_FILE = "lineage.json"
RESTORATION_FILE = "restored.json"
NAME_FILE = "folder.name"

UNFINISHED_GENERATION = -(2**40)
"""Of a store that is being moved here; a backup of one raises it, and it is still below zero."""

T = TypeVar("T")


class Mark(msgspec.Struct, frozen=True):
    """Which store this is and how far it has come; `clean` says that it was closed in order."""

    store_id: str
    generation: int
    clean: bool = False


class Restoration(msgspec.Struct, frozen=True):
    """What a restore has put in place, and what that has cost; null where nobody can tell."""

    store_id: str
    generation: int
    lost_events: int | None = None
    lost_threads: int | None = None


def read_mark(folder: Path) -> Mark | None:
    """Return the mark of a data directory; None when there is none that can be read."""
    return _read(folder / MARK_FILE, Mark)


def put_mark(folder: Path, mark: Mark, *, closing: bool | None = None) -> None:
    """Write the mark, unless the one that is there is further; another process may write, too.

    Whether the store is `clean` is said by `closing`; None leaves it as it is.
    """
    with (folder / f"{MARK_FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = read_mark(folder)
        clean = there is not None and there.clean if closing is None else closing
        if there is not None and there.store_id == mark.store_id:
            mark = max(there, mark, key=lambda each: each.generation)
        _write(folder / MARK_FILE, msgspec.structs.replace(mark, clean=clean))


def read_restoration(folder: Path) -> Restoration | None:
    """Return what the last restore has told to the next start."""
    return _read(folder / RESTORATION_FILE, Restoration)


def put_restoration(folder: Path, restoration: Restoration) -> None:
    """Tell the next start of a restore."""
    _write(folder / RESTORATION_FILE, restoration)


def drop_restoration(folder: Path) -> None:
    """Take note that the restore has been heard of."""
    (folder / RESTORATION_FILE).unlink(missing_ok=True)


def name_folder(folder: Path, fresh: str) -> str:
    """Return the name of a folder, by which those who mount it know that it is one and the same.

    The first to ask gives it; empty where it cannot be written.
    """
    try:
        make_folder(folder)
        put_first(folder / NAME_FILE, fresh.encode(), mode=0o666)
        return (folder / NAME_FILE).read_text()
    except OSError:
        return ""


def is_unfinished(generation: int) -> bool:
    """Tell whether a store of this generation is one that is being moved here."""
    return generation < 0


def unfinished() -> Unusable:
    """Return the refusal to work on a part of a store."""
    return Unusable(
        "store_unfinished", "`tidings move` to here was cut off; begin it again, and let it end."
    )


def put_first(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file in place, on disk, unless one is there: of those who race, the first stays.

    `mode` is what it may be to others, less the process's mask.
    """
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    try:
        sync(draft)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync(path.parent)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Have a folder and all that had to be made above it on disk before going on.

    A file that is synced is found again only if every folder that leads to it is.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for made in reversed(missing):
        sync(made.parent)


def drop_folder(path: Path) -> None:
    """Have a folder with all that is in it gone from the disk before going on, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
    if path.parent.exists():
        sync(path.parent)


def sync_way(top: Path, path: Path) -> None:
    """Have a file on disk, and with it the way that leads to it from a folder above."""
    for each in (path, *path.parents):
        sync(each)
        if each == top:
            return


def sync(path: Path) -> None:
    """Have a file or folder on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write(path: Path, value: object) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(msgspec.json.encode(value) + b"\n")
    sync(draft)
    draft.replace(path)
    sync(path.parent)
