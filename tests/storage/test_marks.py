"""Small files beside the store: whole, once, and with the way to them."""

import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tidings.storage.marks import make_folder, name_folder, put_first


def test_of_many_who_put_a_file_at_once_one_stays_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    contents = [bytes([number]) * 32 for number in range(20)]
    with ThreadPoolExecutor(len(contents)) as threads:
        list(threads.map(partial(put_first, path, mode=0o600), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_keeps_the_name_that_it_was_given_first(tmp_path: Path) -> None:
    assert name_folder(tmp_path / "a/b", "d1") == "d1"
    assert name_folder(tmp_path / "a/b", "d2") == "d1"


def test_a_folder_is_made_with_all_above_it_and_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a/b/c", 0o700)
    assert stat.S_IMODE((tmp_path / "a/b/c").stat().st_mode) == 0o700
