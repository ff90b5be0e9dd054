"""What a file is, decided by its content; compressed text is expanded under a limit."""

import gzip
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from tidings.analysis.importing.errors import ImportRefused

HEAD_BYTES = 64 << 10
CHUNK_BYTES = 1 << 20
ZSTD_WINDOW_BYTES_MAX = 128 << 20
ZSTD_FED_BYTES = 4 << 10

_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_FOREIGN = {
    b"\x7fELF": "a program",
    b"MZ": "a Windows program",
    b"PK\x03\x04": "a zip archive or an Office document",
    b"PK\x05\x06": "a zip archive",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "an Avro file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_TEXT_ENDINGS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
_ACCEPTED = "Upload CSV, TSV, JSONL or Parquet, or gzip or zstd of the text formats."


class Format(StrEnum):
    """The formats that can be imported."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON_ARRAY = "json"
    PARQUET = "parquet"


class Source(msgspec.Struct, frozen=True):
    """A file of known format, not compressed."""

    path: Path
    format: Format


def open_source(path: Path, name: str, scratch: Path, expanded_bytes_max: int) -> Source:
    """Return the file as plain text or Parquet; `name` is what the user calls it.

    Raises:
        ImportRefused: `file_empty`, `file_type_mismatch`, `archive_limits`.
    """
    plain = _expanded(path, scratch / "expanded", expanded_bytes_max)
    with plain.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise ImportRefused("file_empty", "The file is empty.")
    found = _format(plain, head)
    endings = [s for s in Path(name.lower()).suffixes if s not in {".gz", ".zst"}][-1:]
    claimed = {".parquet": "parquet", **_TEXT_ENDINGS}.get("".join(endings))
    is_parquet = found is Format.PARQUET
    if claimed is not None and is_parquet != (claimed == "parquet"):
        raise _mismatch(f"is named {endings[0]} but holds {found}")
    return Source(plain, found)


def _expanded(path: Path, target: Path, bytes_max: int) -> Path:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(_GZIP):
            with gzip.open(file) as reader:
                _write(iter(lambda: reader.read(CHUNK_BYTES), b""), target, bytes_max)
        elif head == _ZSTD:
            _write(_unpacked(file), target, bytes_max)
        else:
            return path
    return target


def _write(chunks: Iterator[bytes], target: Path, bytes_max: int) -> None:
    written = 0
    try:
        with target.open("wb") as file:
            for chunk in chunks:
                written += len(chunk)
                if written > bytes_max:
                    raise ImportRefused(
                        "archive_limits",
                        f"Expanded, the file has more than {bytes_max:,} bytes; split it.",
                    )
                file.write(chunk)
    except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise ImportRefused(
            "file_unreadable", "The compressed file is damaged or cut short; upload it again."
        ) from error


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all zstd frames; a frame without its end is an error.

    A block of a few bytes may stand for 128 KiB, so little is fed at a time.
    """
    engine = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    frame = engine.decompressobj()
    while fed := file.read(ZSTD_FED_BYTES):
        while fed:
            if frame.eof:
                frame = engine.decompressobj()
            yield frame.decompress(fed)
            fed = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise EOFError


def _format(path: Path, head: bytes) -> Format:
    if head.startswith(_PARQUET):
        with path.open("rb") as file:
            file.seek(-4, 2)
            if file.read() != _PARQUET:
                raise ImportRefused("file_unreadable", "The Parquet file is cut short.")
        return Format.PARQUET
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise _mismatch(f"is {what}")
    if head.startswith((_GZIP, _ZSTD)):
        raise _mismatch("is compressed more than once")
    if b"\0" in head:
        raise _mismatch("is binary")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"{": Format.JSONL, b"[": Format.JSON_ARRAY}.get(start, Format.CSV)


def _mismatch(what: str) -> ImportRefused:
    return ImportRefused("file_type_mismatch", f"The file {what}. {_ACCEPTED}")
