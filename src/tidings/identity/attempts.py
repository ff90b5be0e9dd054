"""How often a sign-in may fail, by account and by network address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidings.domain.errors import LimitExceeded
from tidings.domain.ports import Clock
from tidings.identity.rates import RateLimit

WINDOW_SECONDS = 15 * 60
FAILED_PER_ACCOUNT = 10
FAILED_PER_PEER = 100


class LoginAttempts:
    """Counts every sign-in as failed until it has succeeded, so that a burst cannot slip by."""

    def __init__(self, clock: Clock) -> None:
        self._by_account = RateLimit(FAILED_PER_ACCOUNT, WINDOW_SECONDS, clock)
        self._by_peer = RateLimit(FAILED_PER_PEER, WINDOW_SECONDS, clock)

    @asynccontextmanager
    async def one(self, account: str, peer: str) -> AsyncIterator[None]:
        """Allow one attempt; it stays counted when the body raises.

        Raises:
            LimitExceeded: `too_many_attempts`.
        """
        for limit, key in ((self._by_peer, peer), (self._by_account, account)):
            if wait := limit.take(key):
                raise LimitExceeded(
                    "too_many_attempts",
                    "Too many attempts to sign in. Wait, then try again.",
                    retry_after_seconds=wait,
                )
        yield
        self._by_peer.give_back(peer)
        self._by_account.give_back(account)
