"""Sealed messages: what passes through a server that others may reach, and that is not trusted.

AES-256-GCM. Who can write to the server can neither make a message nor move one to another channel;
who can read there learns when something happens and how long it is, and nothing else. Every process
has a key of its own, derived from the installation's and a salt that each message names, so that
the nonce is a plain counter.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
SALT_BYTES = 16
NONCE_BYTES = 12
NAME_BYTES = 16
PEERS_MAX = 1_000
"""So many other processes' keys are remembered; deriving one again takes microseconds."""

_HEAD_BYTES = len(VERSION) + SALT_BYTES + NONCE_BYTES


class NotSealed(Exception):
    """A message that no process of this installation made for this channel."""


class Seal:
    """Seals what this process says, and opens what others of the same installation say."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names = _derived(key, b"names")
        # Not injected, like every secret: no wiring may make two processes seal by one key.
        self._salt = secrets.token_bytes(SALT_BYTES)
        self._own = AESGCM(_derived(key, b"messages", self._salt))
        self._count = 0
        self._peers: OrderedDict[bytes, AESGCM] = OrderedDict()

    def name(self, *parts: str) -> bytes:
        """Return a name for a channel or key: the same everywhere, without saying of whom it is."""
        text = "\0".join(parts).encode()
        return hashlib.blake2b(text, key=self._names, digest_size=NAME_BYTES).hexdigest().encode()

    def seal(self, channel: bytes, body: bytes) -> bytes:
        """Return the message that says `body` on this channel."""
        self._count += 1
        nonce = self._count.to_bytes(NONCE_BYTES, "big")
        return VERSION + self._salt + nonce + self._own.encrypt(nonce, body, channel)

    def is_own(self, message: bytes) -> bool:
        """Tell whether the message says that this process made it; if so, it is no news here."""
        return message[len(VERSION) : len(VERSION) + SALT_BYTES] == self._salt

    def open(self, channel: bytes, message: bytes) -> bytes:
        """Return what was said on this channel.

        Raises:
            NotSealed: it was not one of us, or not on this channel, or in another version.
        """
        if len(message) < _HEAD_BYTES or not message.startswith(VERSION):
            raise NotSealed
        salt = message[len(VERSION) : len(VERSION) + SALT_BYTES]
        nonce = message[len(VERSION) + SALT_BYTES : _HEAD_BYTES]
        try:
            return self._peer(salt).decrypt(nonce, message[_HEAD_BYTES:], channel)
        except InvalidTag:
            raise NotSealed from None

    def _peer(self, salt: bytes) -> AESGCM:
        cipher = self._peers.get(salt)
        if cipher is None:
            cipher = self._peers[salt] = AESGCM(_derived(self._key, b"messages", salt))
            if len(self._peers) > PEERS_MAX:
                self._peers.popitem(last=False)
        else:
            self._peers.move_to_end(salt)
        return cipher


def _derived(key: bytes, *purpose: bytes) -> bytes:
    return hmac.digest(key, b"tidings hot tier " + b" ".join(purpose), "sha256")
