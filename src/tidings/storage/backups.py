"""Backup and restore of a data directory: the database, data sets, history, the signing key.

A backup is a folder that is laid out like a data directory. It is complete or it is not there.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tidings.domain.errors import Conflict, InvalidInput, Unavailable
from tidings.storage import marks
from tidings.storage.marks import Restoration, make_folder, sync
from tidings.storage.warm.port import Loss, StoreFile

DATABASE_FILE = "tidings.db"
DATA_SETS = "files"
HISTORY = "cold"
"""Where, in a data directory, the embedded cold tier is."""
KEY_FILE = "secrets/signing.key"

At = Callable[[Path], StoreFile]
"""Opens the adapter of a store at a path."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A finished backup: bytes of the database and history, data sets, those deleted meanwhile."""

    database_bytes: int
    history_bytes: int
    data_sets: int
    gone: int


@dataclass(frozen=True, slots=True)
class Restored:
    """A finished restore: what it has cost, if anyone can tell, and where the old data are."""

    loss: Loss | None
    aside: Path | None


def back_up(data: Path, target: Path, at: At) -> BackedUp:
    """Write a backup of a data directory, while a server may work on it.

    The store's generation rises before the backup is complete, so that the copy is known to be
    older than the store, whenever and wherever it is put back.

    Raises:
        Conflict: `target_exists`.
        InvalidInput: `no_store`: there is nothing to back up.
        Unavailable: the store cannot be read, or is damaged.
    """
    if target.exists():
        raise Conflict("target_exists", f"{target} exists; name a folder that does not.")
    if not (data / DATABASE_FILE).is_file():
        raise InvalidInput("no_store", f"There is no database in {data}.")
    draft = target.with_name(f"{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, draft, ignore_errors=True)
        make_folder(draft, 0o700)
        copied = draft / DATABASE_FILE
        at(data / DATABASE_FILE).copy_to(copied)
        wanted = at(copied).data_sets()
        here = [name for name in wanted if _copy_data_set(data, draft, name)]
        _copy_history(data, draft)  # after the database, which then marks nothing that is not in it
        _copy_key(data, draft)
        raised = at(data / DATABASE_FILE).raise_generation()
        if marks.read_mark(data) is not None:  # else the next start has yet to ask where it is from
            marks.put_mark(data, raised)
        sync(draft)
        draft.rename(target)
        undo.pop_all()
    sync(target.parent)
    database, history = (target / DATABASE_FILE).stat().st_size, _history_bytes(target)
    return BackedUp(database, history, len(here), len(wanted) - len(here))


def restore(source: Path, data: Path, aside: Path, at: At) -> Restored:
    """Put a backup in the place of a data directory's store; nobody may work on it meanwhile.

    Everything is examined and copied before anything is replaced, and the database goes last, at
    once. What was there, and the data sets that the backup does not know, are kept in `aside`.
    To the history is added what it has not: what it has besides, of runs that are no more, nobody
    is shown. Cut off in the middle, it can be repeated.

    Raises:
        InvalidInput: `not_a_backup`.
        Unavailable: `store_damaged`: the backup is; `store_too_new`.
    """
    if not (source / DATABASE_FILE).is_file():
        raise InvalidInput("not_a_backup", f"There is no database in {source}.")
    at(source / DATABASE_FILE).check()
    make_folder(aside, 0o700)
    draft = aside / "restored.db"
    try:
        loss = _put_back(source, data, aside, draft, at)
    finally:
        draft.unlink(missing_ok=True)
        has_kept = any(aside.iterdir())
        if not has_kept:
            aside.rmdir()
    return Restored(loss, aside if has_kept else None)


def _put_back(source: Path, data: Path, aside: Path, draft: Path, at: At) -> Loss | None:
    shutil.copyfile(source / DATABASE_FILE, draft)
    sync(draft)
    mark, known = at(draft).check(), at(draft).data_sets()
    loss = _loss(at, data / DATABASE_FILE, draft)
    for name in known:
        _copy_data_set(source, data, name)
    _copy_history(source, data)
    _keep(data / KEY_FILE, aside / KEY_FILE)
    _copy_key(source, data)
    lost = loss or (None, None)
    marks.put_restoration(data, Restoration(mark.store_id, mark.generation, *lost))
    at(data / DATABASE_FILE).replace_by(draft, aside)
    _move_unknown(data, aside, set(known))
    return loss


def _loss(at: At, replaced: Path, draft: Path) -> Loss | None:
    if not replaced.exists():
        return None
    try:
        return at(replaced).lost_by(draft)
    except Unavailable:
        return None  # it cannot be read; perhaps that is why there is a restore


def _copy_data_set(source: Path, target: Path, name: str) -> bool:
    """Copy a data set, which never changes; False when it has been deleted meanwhile."""
    there = target / DATA_SETS / name
    if there.exists():
        return True
    draft = there.with_name(f"{there.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft)
    try:
        for path in (source / DATA_SETS / name).iterdir():
            shutil.copyfile(path, draft / path.name)
            sync(draft / path.name)
    except FileNotFoundError:
        shutil.rmtree(draft)
        return False
    sync(draft)
    draft.rename(there)
    sync(there.parent)
    return True


def _copy_history(source: Path, target: Path) -> None:
    """Copy the parts of the history that the target has not; one is never changed, but replaced.

    One that goes in the middle was joined with others: look again, for the joined one was there
    before it went. Parts that overlap are read as one.
    """
    while not all(_copy_part(source, target, part) for part in _parts(source)):
        pass


def _copy_part(source: Path, target: Path, part: Path) -> bool:
    """Copy a part whole; False when it has gone."""
    there = target / part
    if there.exists():
        return True
    draft = there.with_name(f"{there.name}.part")
    make_folder(there.parent, 0o700)
    try:
        shutil.copyfile(source / part, draft)
    except FileNotFoundError:
        return False
    sync(draft)
    draft.replace(there)
    sync(there.parent)
    return True


def _parts(folder: Path) -> list[Path]:
    found = (folder / HISTORY).glob("*/*/*.parquet")
    return sorted(part.relative_to(folder) for part in found)


def _history_bytes(folder: Path) -> int:
    return sum((folder / part).stat().st_size for part in _parts(folder))


def _copy_key(source: Path, target: Path) -> None:
    """Copy the signing key, readable by its owner alone from its first byte on."""
    if not (source / KEY_FILE).exists():
        return
    there = target / KEY_FILE
    make_folder(there.parent, 0o700)
    draft = there.with_name(f"{there.name}.part")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write((source / KEY_FILE).read_bytes())
    sync(draft)
    draft.replace(there)
    sync(there.parent)


def _keep(path: Path, aside: Path) -> None:
    if path.exists():
        make_folder(aside.parent, 0o700)
        os.link(path, aside)
        sync(aside.parent)


def _move_unknown(data: Path, aside: Path, known: set[str]) -> None:
    """Move data sets aside that the store does not know, so that nothing lies about unowned."""
    for folder in sorted((data / DATA_SETS).glob("*/*")):
        name = folder.relative_to(data / DATA_SETS).as_posix()
        if name not in known:
            make_folder((aside / DATA_SETS / name).parent)
            folder.rename(aside / DATA_SETS / name)
