"""What processes did to a folder and told over their sockets, read from what strace has written."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,ftruncate,"
    "truncate,fallocate,mkdir,mkdirat,rmdir,rename,renameat,renameat2,link,linkat,symlink,"
    "symlinkat,unlink,unlinkat,fsync,fdatasync,sync_file_range,mmap,sendto,sendmsg,sendmmsg"
)
BYTES_MAX = 16 << 20
"""Of one call that are recorded; no process here writes as many."""
STRACE = (
    *("strace", "-f", "-y", "-xx", "--seccomp-bpf", "-qq", "-e", "signal=none"),
    *("-s", str(BYTES_MAX), "-e", f"trace={CALLS}"),
)
"""Every call with its paths and all its bytes, of a command and its children."""
UNSEEN = "-shm"
"""The end of the name of SQLite's index of its log: shared memory, made anew after a crash."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file was opened to be written, perhaps made, perhaps emptied."""

    path: str
    creates: bool
    empties: bool
    appends: bool


@dataclass(frozen=True, slots=True)
class Wrote:
    """Bytes were written at an offset; without one, behind what was written before."""

    path: str
    data: bytes
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """Bytes of another file were written behind what was written before."""

    path: str
    source: str
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Resized:
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class MadeFolder:
    path: str


@dataclass(frozen=True, slots=True)
class Linked:
    source: str
    path: str


@dataclass(frozen=True, slots=True)
class Renamed:
    source: str
    path: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A file or an empty folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Synced:
    """A file or folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes left by a socket."""

    socket: str
    data: bytes


Deed = Opened | Wrote | Copied | Resized | MadeFolder | Linked | Renamed | Removed | Synced | Sent


@dataclass(frozen=True, slots=True)
class Call:
    """A deed, and the lines of the recording at which it began and had ended."""

    began: int
    ended: int
    deed: Deed


class Unreadable(Exception):
    """The recording holds what is not understood: nothing may be said of it."""


def calls(lines: Iterable[str], root: str) -> Iterator[Call]:
    """Yield what succeeded below a folder and what was sent, as it ended.

    A line is written while its process is halted, so what a call causes stands behind it.

    Raises:
        Unreadable: a call is of a kind that cannot be followed.
    """
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        pid, _, rest = line.rstrip("\n").partition(" ")
        rest = rest.lstrip()
        began = number
        if rest.endswith(_UNFINISHED):
            begun[pid] = number, rest.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(rest):
            began, first = begun.pop(pid)
            rest = first + rest[resumed.end() :]
        if found := _CALL.fullmatch(rest):
            name, arguments, result = found.groups()
            for deed in _deeds(name, arguments, int(result, 0), root):
                yield Call(began, number, deed)


_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (\d+|0x[0-9a-f]+)(?:<[^>]*>(?:\(deleted\))?)?")
_HEX = r'"([\\x0-9a-f]*)"'
_FILE = r"(?:AT_FDCWD|\d+)<([^>]*)>(\(deleted\))?"
_STRING = re.compile(_HEX)
_FILES = re.compile(_FILE)
_PATHS = re.compile(f"(?:{_FILE}, )?{_HEX}")
_NUMBER = re.compile(r"(?<!\w)\d+(?!\w)")
_SOURCE = re.compile(r"\[(\d+)\] => ")
_OF_NAMES = {
    *("open", "openat", "creat", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2"),
    *("link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "truncate"),
}


def _deeds(name: str, arguments: str, result: int, root: str) -> Iterator[Deed]:
    """Yield what a call has done; nothing for a file that has no name any more."""
    if name in _OF_NAMES:
        paths = [_path(found) for found in _PATHS.finditer(arguments)]
        if any(_is_below(path, root) for path in paths):
            yield from _of_names(name, paths, arguments)
        return
    named = arguments.partition('"')[0]
    files = [(_decoded(place).decode(), gone) for place, gone in _FILES.findall(named)]
    if not files or files[0][1]:
        return
    places = [place for place, _ in files]
    if places[0].startswith("socket:"):
        yield Sent(places[0], _data(arguments)[:result])
    elif _is_below(places[0], root):
        yield from _of_files(name, places, arguments, result)


def _of_names(name: str, paths: list[str], arguments: str) -> Iterator[Deed]:
    match name:
        case "open" | "openat":
            if "O_WRONLY" in arguments or "O_RDWR" in arguments:
                flags = ("O_CREAT" in arguments, "O_TRUNC" in arguments, "O_APPEND" in arguments)
                yield Opened(paths[0], *flags)
        case "mkdir" | "mkdirat":
            yield MadeFolder(paths[0])
        case "rmdir" | "unlink" | "unlinkat":
            yield Removed(paths[0])
        case "rename" | "renameat" | "renameat2" if "RENAME_EXCHANGE" not in arguments:
            yield Renamed(*paths)
        case "link" | "linkat":
            yield Linked(*paths)
        case _:
            raise Unreadable(f"{name} of {paths}")


def _of_files(name: str, places: list[str], arguments: str, result: int) -> Iterator[Deed]:
    path = places[0]
    match name:
        case "mmap":
            _check_mapping(path, arguments)
        case "fsync" | "fdatasync":
            yield Synced(path)
        case "write" | "writev":
            yield Wrote(path, _data(arguments)[:result])
        case "pwrite64" | "pwritev":
            yield Wrote(path, _data(arguments)[:result], _numbers(arguments)[-1])
        case "ftruncate":
            yield Resized(path, _numbers(arguments)[-1])
        case "sendfile":
            for offset in _SOURCE.findall(arguments):  # at the source's end there is none
                yield Copied(path, places[1], int(offset), result)
        case _:
            raise Unreadable(f"{name} of {path}")


def _check_mapping(path: str, arguments: str) -> None:
    """Refuse a file that is written by memory: no recording shows what."""
    if "MAP_SHARED" in arguments and "PROT_WRITE" in arguments and not path.endswith(UNSEEN):
        raise Unreadable(f"{path} is written by memory")


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _path(found: "re.Match[str]") -> str:
    """Return the path that a call names, by itself or from a folder."""
    folder, _, name = found.groups()
    return str(Path(_decoded(folder or "").decode(), _decoded(name).decode()))


def _data(arguments: str) -> bytes:
    return b"".join(_decoded(piece) for piece in _STRING.findall(arguments))


def _numbers(arguments: str) -> list[int]:
    """Return the numbers behind all that is a name or bytes."""
    _, _, rest = arguments.rpartition('"' if '"' in arguments else ">")
    return [int(number) for number in _NUMBER.findall(rest)]


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
