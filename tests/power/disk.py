"""A disk that keeps what was synced, and of all else what chance leaves when the power is cut.

The strictest reading of POSIX: a sync of a file keeps its content and not its name; a name is kept
by a sync of its folder. Of what was not synced any part may be there, in any order, torn at
sectors. A rename alone is there or not, never half, and kept when both its folders were synced.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.power.recording import (
    Copied,
    Deed,
    Linked,
    MadeFolder,
    Opened,
    Removed,
    Renamed,
    Resized,
    Sent,
    Synced,
    Wrote,
)

Naming = Opened | MadeFolder | Linked | Renamed | Removed
SECTOR_BYTES = 512
KEPT = (0.0, 0.5, 1.0)
"""How much of what was not synced is there: nothing, any part, or all."""


@dataclass(frozen=True, slots=True)
class Write:
    at: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Size:
    at: int
    size: int


@dataclass(eq=False, slots=True)
class File:
    """What it holds, what of that is kept, what was done since, and where the last write ended."""

    content: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    pending: list[Write | Size] = field(default_factory=list)
    end: int = 0

    def change(self, change: Write | Size) -> None:
        _apply(self.content, change)
        self.pending.append(change)

    def write(self, at: int, data: bytes, offset: int | None = None) -> None:
        """Write at an offset, or behind what was written last without one."""
        if offset is None:
            offset, self.end = self.end, self.end + len(data)
        self.change(Write(at, offset, data))

    def sync(self, began: int) -> None:
        """Keep what had been done when the sync began."""
        for change in self.pending:
            if change.at < began:
                _apply(self.kept, change)
        self.pending = [change for change in self.pending if change.at >= began]

    def left(self, rng: Random, share: float) -> bytes:
        """Return what a cut may leave of it."""
        left = bytearray(self.kept)
        for change in self.pending:
            if rng.random() < share:
                _apply(left, change)
            elif isinstance(change, Write) and 0 < share < 1:
                _tear(left, change, rng)
        return bytes(left)


@dataclass(eq=False, slots=True)
class Folder:
    """Its names as they are, and as they are kept."""

    names: dict[str, "Node"] = field(default_factory=dict)
    kept: dict[str, "Node"] = field(default_factory=dict)


Node = File | Folder


@dataclass(frozen=True, slots=True)
class Name:
    """A name of a folder that came to be another's, or nobody's."""

    folder: Folder
    name: str
    before: Node | None
    after: Node | None


@dataclass(eq=False, slots=True)
class Renaming:
    """Names that change together, and the folders that have yet to be synced for that."""

    at: int
    changes: tuple[Name, ...]
    waits_for: set[Folder]


class Disk:
    """The folder `root` of a disk, which is there and empty; it may be `deaf` to syncs."""

    def __init__(self, root: str, deaf: tuple[type["Node"], ...] = ()) -> None:
        self._root = root
        self._deaf = deaf
        self._top = Folder()
        self._pending: list[Renaming] = []

    def do(self, deed: Deed, began: int, ended: int) -> None:
        """Let something be done, from one line of the recording to another."""
        match deed:
            case Opened() | MadeFolder() | Linked() | Renamed() | Removed():
                self._name(deed, ended)
            case Wrote() | Copied() | Resized():
                self._fill(deed, ended)
            case Synced(path):
                node = self._node(path)
                if not isinstance(node, self._deaf):
                    self._sync(node, began)
            case Sent():
                pass

    def content(self) -> dict[str, bytes | None]:
        """Return everything as it is, by path below the root; None is a folder."""
        return dict(_walk(self._top, lambda f: f.names, lambda f: bytes(f.content)))

    def left(self, rng: Random) -> dict[str, bytes | None]:
        """Return what a cut of the power may leave, as `content` does."""
        of_names, of_bytes = rng.choice(KEPT), rng.choice(KEPT)
        names: dict[Folder, dict[str, Node]] = {}
        for naming in self._pending:
            if rng.random() < of_names:
                for change in naming.changes:
                    _rename(names.setdefault(change.folder, dict(change.folder.kept)), change)
        contents: dict[File, bytes] = {}

        def content(file: File) -> bytes:
            if file not in contents:
                contents[file] = file.left(rng, of_bytes)
            return contents[file]

        return dict(_walk(self._top, lambda f: names.get(f, f.kept), content))

    def _name(self, deed: Naming, at: int) -> None:
        match deed:
            case Opened(path):
                self._open(deed, path, at)
            case MadeFolder(path):
                self._change(at, self._changed(path, Folder()))
            case Linked(source, path):
                self._change(at, self._changed(path, self._node(source)))
            case Renamed(source, path):
                moved = self._node(source)
                self._change(at, self._changed(source, None), self._changed(path, moved))
            case Removed(path):
                self._change(at, self._changed(path, None))

    def _fill(self, deed: Wrote | Copied | Resized, at: int) -> None:
        file = self._file(deed.path)
        match deed:
            case Wrote(_, data, offset):
                file.write(at, data, offset)
            case Copied(_, source, offset, count):
                file.write(at, bytes(self._file(source).content[offset : offset + count]))
            case Resized(_, size):
                file.change(Size(at, size))

    def _open(self, deed: Opened, path: str, at: int) -> None:
        folder, name = self._place(path)
        if name not in folder.names:
            assert deed.creates, path
            self._change(at, self._changed(path, File()))
        file = self._file(path)
        if deed.empties and file.content:
            file.change(Size(at, 0))
        file.end = len(file.content) if deed.appends else 0

    def _change(self, at: int, *changes: Name) -> None:
        for change in changes:
            _rename(change.folder.names, change)
        self._pending.append(Renaming(at, changes, {change.folder for change in changes}))

    def _sync(self, node: Node, began: int) -> None:
        if isinstance(node, File):
            node.sync(began)
            return
        for naming in self._pending:
            if naming.at < began:
                naming.waits_for.discard(node)
        for naming in self._pending:
            if not naming.waits_for:
                for change in naming.changes:
                    _rename(change.folder.kept, change)
        self._pending = [naming for naming in self._pending if naming.waits_for]

    def _changed(self, path: str, after: Node | None) -> Name:
        folder, name = self._place(path)
        return Name(folder, name, folder.names.get(name), after)

    def _place(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self._node(parent)
        assert isinstance(folder, Folder), path
        return folder, name

    def _file(self, path: str) -> File:
        node = self._node(path)
        assert isinstance(node, File), path
        return node

    def _node(self, path: str) -> Node:
        node: Node = self._top
        for name in path.removeprefix(self._root).split("/")[1:]:
            assert isinstance(node, Folder), path
            node = node.names[name]
        return node


def _rename(names: dict[str, Node], change: Name) -> None:
    """Change a name, unless it has come to be another's than the one that it is taken from."""
    if change.after is not None:
        names[change.name] = change.after
    elif names.get(change.name) is change.before:
        del names[change.name]


def _apply(content: bytearray, change: Write | Size) -> None:
    if isinstance(change, Size):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _tear(content: bytearray, write: Write, rng: Random) -> None:
    """Write some of the sectors that a write touches, or none."""
    keeps = rng.choice((0.0, 0.5))
    begin, end = write.offset, write.offset + len(write.data)
    while begin < end:
        until = min(end, (begin // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if rng.random() < keeps:
            piece = write.data[begin - write.offset : until - write.offset]
            _apply(content, Write(write.at, begin, piece))
        begin = until


def _walk(
    folder: Folder,
    names: Callable[[Folder], dict[str, Node]],
    content: Callable[[File], bytes],
    above: str = "",
) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted(names(folder).items()):
        path = f"{above}{name}"
        if isinstance(node, File):
            yield path, content(node)
        else:
            yield path, None
            yield from _walk(node, names, content, f"{path}/")
