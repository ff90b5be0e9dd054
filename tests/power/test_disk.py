"""The disk: what was synced is there whatever chance says, what was not may be, in part."""

from random import Random

from tests.power.disk import SECTOR_BYTES, Disk, File, Folder
from tests.power.recording import (
    Copied,
    Deed,
    Linked,
    MadeFolder,
    Opened,
    Removed,
    Renamed,
    Resized,
    Synced,
    Wrote,
)

CHANCES = 1_000
NEW = ("/d/f", True, False, False)


def done(*deeds: Deed, disk: Disk | None = None) -> Disk:
    """Do things one after another."""
    disk = disk or Disk("/d")
    for line, deed in enumerate(deeds):
        disk.do(deed, 2 * line, 2 * line + 1)
    return disk


def all_left(disk: Disk) -> list[dict[str, bytes | None]]:
    """Return what many cuts leave, each other outcome once."""
    lefts = (disk.left(Random(seed)) for seed in range(CHANCES))
    return [dict(left) for left in {tuple(left.items()) for left in lefts}]


def test_what_was_synced_with_its_name_is_there() -> None:
    disk = done(Opened(*NEW), Wrote("/d/f", b"abc"), Synced("/d/f"), Synced("/d"))
    assert all_left(disk) == [{"f": b"abc"}]


def test_a_synced_file_whose_name_was_not_may_be_gone() -> None:
    disk = done(Opened(*NEW), Wrote("/d/f", b"abc"), Synced("/d/f"))
    assert {frozenset(left) for left in all_left(disk)} == {frozenset(), frozenset({"f"})}


def test_a_folder_whose_name_was_not_synced_takes_all_with_it() -> None:
    inside = Opened("/d/e/f", creates=True, empties=False, appends=False)
    disk = done(MadeFolder("/d/e"), inside, Synced("/d/e/f"), Synced("/d/e"))
    assert {} in all_left(disk)
    assert {"e": None} not in all_left(disk), "the file's name was synced in it"


def test_what_was_written_since_may_be_there_torn_at_sectors_and_in_any_order() -> None:
    old, new = b"o" * 2 * SECTOR_BYTES, b"n" * 2 * SECTOR_BYTES
    disk = done(
        Opened(*NEW),
        Wrote("/d/f", old),
        Synced("/d/f"),
        Synced("/d"),
        Wrote("/d/f", new, 0),
        Wrote("/d/f", b"end", 2 * SECTOR_BYTES),
    )
    left = {content for each in all_left(disk) if (content := each["f"]) is not None}
    halves = [old[:SECTOR_BYTES], new[:SECTOR_BYTES]]
    assert {a + b for a in halves for b in halves} <= left
    assert old + b"end" in left, "the later write without the earlier one"
    assert new + b"end" in left


def test_a_sync_keeps_only_what_was_done_when_it_began() -> None:
    disk = done(Opened(*NEW), Synced("/d"))
    disk.do(Wrote("/d/f", b"abc"), 10, 12)
    disk.do(Synced("/d/f"), 11, 13)
    assert {"f": b""} in all_left(disk)


def test_a_rename_is_there_whole_or_not_and_is_kept_when_both_folders_are_synced() -> None:
    def moved(*syncs: Deed) -> Disk:
        made = (MadeFolder("/d/e"), Opened(*NEW), Wrote("/d/f", b"a"), Synced("/d/f"), Synced("/d"))
        return done(*made, Renamed("/d/f", "/d/e/g"), *syncs)

    there, gone = {"e": None, "e/g": b"a"}, {"e": None, "f": b"a"}
    for syncs in ((), (Synced("/d"),), (Synced("/d/e"),)):
        left = all_left(moved(*syncs))
        assert there in left
        assert gone in left
        assert len(left) == 2
    assert all_left(moved(Synced("/d"), Synced("/d/e"))) == [there]


def test_a_name_that_is_another_files_by_now_is_not_lost_with_the_first() -> None:
    disk = done(
        Opened(*NEW), Synced("/d/f"), Synced("/d"), Removed("/d/f"), Opened(*NEW), Synced("/d")
    )
    assert all_left(disk) == [{"f": b""}]


def test_links_copies_and_sizes_are_followed() -> None:
    disk = done(
        Opened(*NEW),
        Wrote("/d/f", b"abcdef"),
        Linked("/d/f", "/d/g"),
        Opened("/d/h", creates=True, empties=True, appends=False),
        Copied("/d/h", "/d/g", 1, 3),
        Resized("/d/f", 2),
        Opened("/d/h", creates=True, empties=False, appends=True),
        Wrote("/d/h", b"!"),
    )
    assert disk.content() == {"f": b"ab", "g": b"ab", "h": b"bcd!"}


def test_a_disk_that_heeds_no_syncs_may_lose_everything() -> None:
    deeds = (Opened(*NEW), Wrote("/d/f", b"abc"), Synced("/d/f"), Synced("/d"))
    assert {"f": b""} in all_left(done(*deeds, disk=Disk("/d", deaf=(File,))))
    assert {} in all_left(done(*deeds, disk=Disk("/d", deaf=(Folder,))))
