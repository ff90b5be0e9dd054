"""Whether a store may be worked on, once it answers; as long as it does not, it is waited for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tidings.domain.errors import Unavailable, Unusable
from tidings.storage.warm.port import Store

LOOK_SECONDS = 1.0

Look = Callable[[], Awaitable[None]]
"""What else must hold of a store once, when it first answers."""

_log = logging.getLogger(__name__)


async def admit(store: Store, look: Look) -> bool:
    """Look at a store before it is worked on; return whether it has answered.

    Raises:
        Unusable: it answers, and must not be worked on. And what `look` raises.
    """
    try:
        await store.check()
        await look()
    except Unusable:
        raise
    except Unavailable as error:
        _log.info("the store is waited for: %s", error.message)
        return False
    return True


async def keep_watch(store: Store, look: Look) -> None:
    """Look again and again: it may come to answer, and its data to be elsewhere.

    Raises:
        Unusable: it answers, and must not be worked on. And what `look` raises.
    """
    has_answered = False
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        has_answered = await admit(store, _seen if has_answered else look) or has_answered


async def _seen() -> None:
    """It has held."""
