"""The signing key of this installation, and every other secret it makes."""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from tidings.storage.marks import make_folder, put_first

KEY_BYTES = 32
SECRET_BYTES = 32


class UnsafeKey(Exception):
    """The key file exists and cannot be trusted; the message says what to do about it."""


def load_or_create_key(path: Path) -> bytes:
    """Return the key kept at `path`; the first caller makes it, readable by its owner alone.

    Raises:
        UnsafeKey: others may read the file, or it holds no whole key.
    """
    make_folder(path.parent)
    put_first(path, secrets.token_bytes(KEY_BYTES), mode=0o600)
    found = path.stat()
    if not is_private(stat.S_IMODE(found.st_mode), found.st_uid, os.geteuid()):
        raise UnsafeKey(f"{path} can be read by others. Run: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise UnsafeKey(f"{path} holds less than {KEY_BYTES} bytes. Remove it and start again.")
    return key


def is_private(mode: int, owner: int, reader: int) -> bool:
    """Tell whether a key file is for its reader alone.

    A reader's own file must be closed to its group; one that somebody else owns, as those that are
    mounted into containers, can only be read by the group, and must not be written by it.
    """
    return not mode & (0o077 if owner == reader else 0o037)


def new_secret() -> str:
    """Return 256 random bits as text.

    Not injected like other randomness: no wiring may make a credential predictable.
    """
    return secrets.token_urlsafe(SECRET_BYTES)


def fingerprint(secret: str) -> str:
    """Return what is stored in place of a secret with 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
