"""The library: every user's data sets, uploaded once and kept in a form that can be analysed."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tidings.analysis.dataset import Dataset
from tidings.analysis.importing.report import ImportReport
from tidings.analysis.record import FIELDS
from tidings.analysis.sandbox.pool import Sandbox
from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import InvalidInput, LimitExceeded, NotFound, Unauthenticated
from tidings.domain.ports import Clock, IdSource
from tidings.storage import marks
from tidings.storage.warm.objects import Kind, fetch_owned, take_turn
from tidings.storage.warm.port import Database, Row, Transaction

FILE_BYTES_MAX = 2 << 30
EXPANDED_BYTES_MAX = 16 << 30
USER_FILES_MAX = 200
USER_BYTES_MAX = 20 << 30
NAME_CHARS_MAX = 256
DATASET_FILES_MAX = 32
RESERVED_BYTES = 1 << 20

_STORED = "usage.duckdb"
_COLUMNS = "file_id, name, bytes, created_at, import_report"


class StoredFile(msgspec.Struct, frozen=True):
    """A data set as its owner sees it; `bytes` is the size of the upload."""

    file_id: str
    name: str
    bytes: int
    created_at: float
    import_report: ImportReport


class LibraryLimits(msgspec.Struct, frozen=True):
    """How much may be uploaded: by file, and by user."""

    file_bytes: int = FILE_BYTES_MAX
    expanded_bytes: int = EXPANDED_BYTES_MAX
    user_files: int = USER_FILES_MAX
    user_bytes: int = USER_BYTES_MAX


class Library:
    """Keeps data sets under `root/<user>/<file>/`, their descriptions in the database."""

    def __init__(
        self,
        root: Path,
        database: Database,
        sandbox: Sandbox,
        clock: Clock,
        ids: IdSource,
        limits: LibraryLimits,
    ) -> None:
        self._root = root.resolve()  # it is read by processes that work elsewhere
        self._database = database
        self._sandbox = sandbox
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self.folder_name = ""

    async def recognise(self) -> None:
        """Learn the name of the folder of data sets: all who share it know the same one."""
        fresh = self._ids.new("d")
        self.folder_name = await asyncio.to_thread(marks.name_folder, self._root, fresh)

    async def add(
        self, context: UserContext, name: str, chunks: AsyncIterator[bytes]
    ) -> StoredFile:
        """Store and import an upload; after an error nothing of it is left.

        Raises:
            InvalidInput: `invalid_name`, or the content cannot be imported; the code says why.
            LimitExceeded: `file_too_large` (413), `quota_exceeded`.
        """
        name = _display_name(name)
        file_id = self._ids.new("f")
        folder = self._folder(context.user_id, file_id)
        with ExitStack() as undo:
            await self._reserve(context, file_id, name)
            try:
                folder.mkdir(parents=True)
                undo.callback(shutil.rmtree, folder, ignore_errors=True)
                size, digest = await self._receive(context, file_id, chunks, folder / "upload")
                report = await self._sandbox.load(
                    folder / "upload",
                    name,
                    folder / _STORED,
                    expanded_bytes_max=self._limits.expanded_bytes,
                )
                _keep_only(folder, _STORED)
                await asyncio.to_thread(marks.sync_way, self._root.parent, folder / _STORED)
                await self._record(context, file_id, size, digest, report)
            except BaseException:
                await asyncio.shield(self._database.write(context, lambda tx: _remove(tx, file_id)))
                raise
            undo.pop_all()
        return await self.get(context, file_id)

    async def list(self, context: UserContext) -> tuple[StoredFile, ...]:
        """Return the user's data sets, the newest first."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.execute(
                f"select {_COLUMNS} from files where user_id = ? and import_report is not null "
                "order by file_id desc",
                context.user_id,
            )

        return tuple(_stored(row) for row in await self._database.read(context, work))

    async def get(self, context: UserContext, file_id: str) -> StoredFile:
        """Return one data set.

        Raises:
            NotFound: there is none of that id that is the user's.
        """
        return _stored(
            await self._database.read(
                context, lambda tx: fetch_owned(tx, context, Kind.FILE, file_id, _COLUMNS)
            )
        )

    async def delete(self, context: UserContext, file_id: str) -> None:
        """Forget a data set and remove its content.

        Raises:
            NotFound: there is none of that id that is the user's.
        """

        async def work(tx: Transaction) -> None:
            await fetch_owned(tx, context, Kind.FILE, file_id, "file_id")
            await _remove(tx, file_id)

        await self._database.write(context, work)
        await asyncio.to_thread(marks.drop_folder, self._folder(context.user_id, file_id))

    async def delete_all(self, context: UserContext) -> int:
        """Forget all that a user has uploaded, what is on its way too; return how many there were.

        It may be done again, and removes then what a crash has left.
        """

        async def work(tx: Transaction) -> list[Row]:
            return await tx.execute(
                "delete from files where user_id = ? returning file_id", context.user_id
            )

        files = await self._database.write(context, work)
        await asyncio.to_thread(marks.drop_folder, self._root / context.user_id)
        return len(files)

    async def dataset(self, context: UserContext, file_ids: Sequence[str]) -> Dataset:
        """Return the user's files as one data set for queries.

        Raises:
            InvalidInput: `no_data`, no file is named; `too_many_files`.
            NotFound: one of them is not the user's.
        """
        if not file_ids:
            raise InvalidInput(
                "no_data", "No data set is attached; upload a usage log and ask about it."
            )
        unique = tuple(dict.fromkeys(file_ids))
        if len(unique) > DATASET_FILES_MAX:
            raise InvalidInput(
                "too_many_files", f"At most {DATASET_FILES_MAX} files can be analysed together."
            )
        reports = [(await self.get(context, file_id)).import_report for file_id in unique]
        return Dataset(
            user_id=context.user_id,
            paths=tuple(self._folder(context.user_id, f) / _STORED for f in unique),
            rows=sum(r.rows for r in reports),
            fields=frozenset(f for r in reports for f in FIELDS if f not in r.missing),
            models=tuple(dict.fromkeys(pair for r in reports for pair in r.models)),
        )

    async def sweep(self, before: float) -> int:
        """Remove what uploads that began before that time and never ended have left; count them."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.execute(
                "delete from files where import_report is null and created_at < ? "
                "returning user_id, file_id",
                before,
            )

        left = await self._database.write(SERVER, work)
        for user_id, file_id in left:
            shutil.rmtree(self._folder(user_id, file_id), ignore_errors=True)
        return len(left)

    def _folder(self, user_id: str, file_id: str) -> Path:
        return self._root / user_id / file_id

    async def _reserve(self, context: UserContext, file_id: str, name: str) -> None:
        """Take a place in the user's quota of files, before anything is written."""
        now = self._clock.now()

        async def work(tx: Transaction) -> None:
            await take_turn(tx, context)
            [(files, disabled)] = await tx.execute(
                "select count(*), (select disabled from users where user_id = ?)"
                " from files where user_id = ?",
                context.user_id,
                context.user_id,
            )
            if disabled:
                raise Unauthenticated("session_revoked", "Your session has ended. Sign in again.")
            if files >= self._limits.user_files:
                raise LimitExceeded(
                    "quota_exceeded",
                    f"You have {files} files, as many as a user may; delete one and try again.",
                )
            await tx.execute(
                "insert into files (file_id, user_id, name, bytes, sha256, created_at) "
                "values (?, ?, ?, 0, '', ?)",
                file_id, context.user_id, name, now,
            )  # fmt: skip

        await self._database.write(context, work)

    async def _receive(
        self, context: UserContext, file_id: str, chunks: AsyncIterator[bytes], path: Path
    ) -> tuple[int, str]:
        """Write the upload to disk; its bytes are reserved in the quota before they are written."""
        size, reserved, digest = 0, 0, hashlib.sha256()
        with path.open("xb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._limits.file_bytes:
                    raise LimitExceeded(
                        "file_too_large",
                        f"A file may have at most {self._limits.file_bytes:,} bytes; split it.",
                        status=413,
                    )
                if size > reserved:
                    reserved = await self._reserve_bytes(context, file_id, size)
                digest.update(chunk)
                file.write(chunk)
        return size, digest.hexdigest()

    async def _reserve_bytes(self, context: UserContext, file_id: str, size: int) -> int:
        """Take at least `size` bytes of the user's quota, more if there are; return how many."""
        wanted = min(max(2 * size, RESERVED_BYTES), self._limits.file_bytes)

        async def work(tx: Transaction) -> int:
            await take_turn(tx, context)
            [(taken,)] = await tx.execute(
                "select coalesce(sum(bytes), 0) from files where user_id = ? and file_id <> ?",
                context.user_id,
                file_id,
            )
            got = min(wanted, self._limits.user_bytes - int(taken))
            if got < size:
                raise LimitExceeded(
                    "quota_exceeded",
                    f"Your files may have {self._limits.user_bytes:,} bytes together; "
                    "delete some and try again.",
                )
            await tx.execute("update files set bytes = ? where file_id = ?", got, file_id)
            return got

        return await self._database.write(context, work)

    async def _record(
        self, context: UserContext, file_id: str, size: int, digest: str, report: ImportReport
    ) -> None:
        """Complete the file, unless it was taken away meanwhile."""
        encoded = msgspec.json.encode(report).decode()
        found = await self._database.write(
            context, lambda tx: tx.execute(
                "update files set bytes = ?, sha256 = ?, import_report = ? where file_id = ?"
                " returning 1",
                size, digest, encoded, file_id,
            )
        )  # fmt: skip
        if not found:
            raise NotFound


async def _remove(tx: Transaction, file_id: str) -> None:
    await tx.execute("delete from files where file_id = ?", file_id)


def _stored(row: Row) -> StoredFile:
    file_id, name, size, created_at, report = row
    if report is None:
        raise NotFound
    return StoredFile(
        file_id, name, size, created_at, msgspec.json.decode(report, type=ImportReport)
    )


def _display_name(name: str) -> str:
    """Return what users call the file: it is shown, and never part of a path.

    Raises:
        InvalidInput: `invalid_name`, it is empty or holds NUL, CR or LF.
    """
    if any(c in name for c in "\0\r\n") or not name.strip():
        raise InvalidInput("invalid_name", "Give the file a name of one line.")
    shown = "".join(c if c.isprintable() else "_" for c in name.strip())
    return shown.replace("\\", "/").rpartition("/")[2][-NAME_CHARS_MAX:] or "file"


def _keep_only(folder: Path, name: str) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != name:
            path.unlink()
