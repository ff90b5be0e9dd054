"""How often a sign-in may fail, by account and by network address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidings.domain.errors import LimitExceeded
from tidings.resilience.rates import Allowance
from tidings.storage.hot.port import Rates

WINDOW_SECONDS = 15 * 60
FAILED_PER_ACCOUNT = 10
FAILED_PER_PEER = 100

_BY_PEER = Allowance("sign-in of an address", FAILED_PER_PEER, WINDOW_SECONDS)
_BY_ACCOUNT = Allowance("sign-in to an account", FAILED_PER_ACCOUNT, WINDOW_SECONDS)


class LoginAttempts:
    """Counts every sign-in as failed until it has succeeded, so that a burst cannot slip by."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    @asynccontextmanager
    async def one(self, account: str, peer: str) -> AsyncIterator[None]:
        """Allow one attempt; it stays counted when the body raises.

        Raises:
            LimitExceeded: `too_many_attempts`.
        """
        counted = ((_BY_PEER, peer), (_BY_ACCOUNT, account))
        for allowance, key in counted:
            if wait := await self._rates.take(allowance, key):
                raise LimitExceeded(
                    "too_many_attempts",
                    "Too many attempts to sign in. Wait, then try again.",
                    retry_after_seconds=wait,
                )
        yield
        for allowance, key in counted:
            await self._rates.give_back(allowance, key)
