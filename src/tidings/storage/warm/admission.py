"""Whether a store may be worked on, once it answers; as long as it does not, it is waited for."""

import asyncio
import logging

from tidings.domain.errors import Unavailable, Unusable
from tidings.storage.warm.port import Store

LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


async def admit(store: Store) -> None:
    """Look at a store before it is worked on.

    Raises:
        Unusable: it answers, and must not be worked on.
    """
    try:
        await store.check()
    except Unusable:
        raise
    except Unavailable as error:
        _log.info("the store is waited for: %s", error.message)


async def keep_watch(store: Store) -> None:
    """Look again and again: it may come to answer, and its data to be elsewhere.

    Raises:
        Unusable: it answers, and must not be worked on.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await admit(store)
