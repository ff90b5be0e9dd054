"""The signing key's file."""

import stat
from pathlib import Path

import pytest

from tidings.identity.keys import UnsafeKey, is_private, load_or_create_key


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "signing.key"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["signing.key"]


def test_a_key_that_others_can_read_or_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(UnsafeKey, match="chmod 600"):
        load_or_create_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(UnsafeKey, match="less than 32 bytes"):
        load_or_create_key(path)


def test_a_key_of_somebody_elses_may_be_read_by_the_group_and_by_no_more() -> None:
    assert is_private(0o600, owner=1000, reader=1000)
    assert is_private(0o440, owner=0, reader=1000)
    assert not is_private(0o440, owner=1000, reader=1000)
    assert not is_private(0o460, owner=0, reader=1000)
    assert not is_private(0o444, owner=0, reader=1000)
