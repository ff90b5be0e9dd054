"""Passwords: argon2id, off the event loop, a few at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from tidings.domain.errors import InvalidInput, Unavailable

TIME_COST = 2
MEMORY_KIB = 19 * 1024
THREADS = 2
WAITING_MAX = 64
PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 256

T = TypeVar("T")


class Passwords:
    """Hashes and verifies; close it to let its threads go."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Return what is stored in the password's place.

        Raises:
            InvalidInput: `password_unfit`, by its length or because it is not text.
            Unavailable: `sign_in_busy`.
        """
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX or not _is_text(password):
            raise InvalidInput(
                "password_unfit",
                f"A password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters.",
            )
        return await self._run(self._hasher.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Tell whether the password is the stored one; as much work when there is none stored.

        Raises:
            Unavailable: `sign_in_busy`.
        """
        if len(password) > PASSWORD_CHARS_MAX or not _is_text(password):
            return False
        same = await self._run(self._verify, stored or self._nobody, password)
        return same and stored is not None

    def close(self) -> None:
        """Let the work under way end and the threads go."""
        self._pool.shutdown()

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *values: str) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("sign_in_busy", "Many are signing in. Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *values)
        finally:
            self._waiting -= 1


def _is_text(password: str) -> bool:
    """Tell whether it can be encoded: JSON lets lone surrogates through."""
    return not any("\ud800" <= character <= "\udfff" for character in password)
