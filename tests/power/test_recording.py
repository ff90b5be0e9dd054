"""Reading what strace has written: calls as they ended, of files by their paths."""

import pytest

from tests.power.recording import (
    Call,
    Copied,
    Linked,
    MadeFolder,
    Opened,
    Removed,
    Renamed,
    Resized,
    Sent,
    Synced,
    Unreadable,
    Wrote,
    calls,
)

FILE = "7<%/d/f%>"


def lines(*written: str) -> list[str]:
    """Return lines as strace writes them; what is between % are bytes in hex."""
    out = []
    for line in written:
        parts = line.split("%")
        parts[1::2] = ["".join(f"\\x{byte:02x}" for byte in p.encode()) for p in parts[1::2]]
        out.append("".join(parts) + "\n")
    return out


def read(*written: str) -> list[Call]:
    return list(calls(lines(*written), "/d"))


def deeds(*written: str) -> list[object]:
    return [call.deed for call in read(*(f"11 {line}" for line in written))]


def test_calls_on_files_are_read_with_all_their_bytes() -> None:
    assert deeds(
        f'openat(AT_FDCWD<%/tmp%>, "%/d/f%", O_RDWR|O_CREAT|O_TRUNC, 0644) = {FILE}',
        f'write({FILE}, "%ab\0%", 3) = 2',
        f'pwrite64({FILE}, "%xyz%", 3, 512) = 3',
        f'writev({FILE}, [{{iov_base="%a%", iov_len=1}}, {{iov_base="%b%", iov_len=1}}], 2) = 2',
        f"ftruncate({FILE}, 8192)             = 0",
        f"fdatasync({FILE}) = 0",
        "sendfile(8<%/d/g%>, 7<%/d/f%>, [0] => [5], 1000) = 5",
        "sendfile(8<%/d/g%>, 7<%/d/f%>, [5], 1000) = 0",
    ) == [
        Opened("/d/f", creates=True, empties=True, appends=False),
        Wrote("/d/f", b"ab"),
        Wrote("/d/f", b"xyz", 512),
        Wrote("/d/f", b"ab"),
        Resized("/d/f", 8192),
        Synced("/d/f"),
        Copied("/d/g", "/d/f", 0, 5),
    ]


def test_calls_on_names_are_read_from_folders_too() -> None:
    assert deeds(
        'mkdir("%/d/e%", 0777) = 0',
        'rename("%/d/f%", "%/d/e/f%") = 0',
        'link("%/d/e/f%", "%/d/g%") = 0',
        'unlinkat(5<%/d/e%>, "%f%", 0) = 0',
        'rmdir("%/d/e%") = 0',
        "fsync(5<%/d%>) = 0",
    ) == [
        MadeFolder("/d/e"),
        Renamed("/d/f", "/d/e/f"),
        Linked("/d/e/f", "/d/g"),
        Removed("/d/e/f"),
        Removed("/d/e"),
        Synced("/d"),
    ]


def test_a_call_that_others_came_between_has_both_its_lines() -> None:
    assert read(
        f"11 fdatasync({FILE} <unfinished ...>",
        f'12 pwrite64({FILE}, "%ab%", 2, 0) = 2',
        "11 <... fdatasync resumed>) = 0",
        '12 sendto(9<%socket:[4]%>, "%told%", 4, 0, NULL, 0) = 4',
    ) == [
        Call(1, 1, Wrote("/d/f", b"ab", 0)),
        Call(0, 2, Synced("/d/f")),
        Call(3, 3, Sent("socket:[4]", b"told")),
    ]


def test_what_failed_is_elsewhere_or_has_no_name_any_more_is_left_out() -> None:
    assert not read(
        '11 unlink("%/d/f%") = -1 ENOENT (No such file or directory)',
        '11 unlink("%/different%") = 0',
        '11 openat(AT_FDCWD<%/%>, "%/d/f%", O_RDONLY) = 3<%/d/f%>',
        '11 pwrite64(7<%/d/f%>(deleted), "%ab%", 2, 0) = 2',
        '11 write(1<%pipe:[3]%>, "%ab%", 2) = 2',
        f"11 fsync({FILE} <unfinished ...>",
        "11 <... fsync resumed>) = ?",
    )


@pytest.mark.parametrize(
    "line",
    [
        f"mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, {FILE}, 0) = 0x7f3223fe6000",
        f"fallocate({FILE}, 0, 0, 4096) = 0",
        'symlink("%/d/f%", "%/d/g%") = 0',
    ],
)
def test_what_cannot_be_followed_is_refused(line: str) -> None:
    with pytest.raises(Unreadable):
        deeds(line)


def test_the_shared_index_of_the_log_may_be_memory() -> None:
    shared = "PROT_READ|PROT_WRITE, MAP_SHARED, 7<%/d/tidings.db-shm%>, 0) = 0x7f3223fe6000"
    assert not deeds(f"mmap(NULL, 4096, {shared}")
