"""The one door to a user's notifications: inbox, preferences, webhooks."""

from typing import Any

from tidings.domain.context import UserContext
from tidings.domain.ports import Clock, IdSource
from tidings.egress.http import Egress
from tidings.notifications import inbox, preferences, webhooks
from tidings.notifications.preferences import Preferences
from tidings.notifications.signing import new_secret
from tidings.storage.warm.port import Database

PAGE_ITEMS_MAX = 200


class Notifications:
    """Answers for one user at a time; raises NotFound for what is not the user's."""

    def __init__(self, database: Database, egress: Egress, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._egress = egress
        self._clock = clock
        self._ids = ids

    async def inbox(
        self, context: UserContext, limit: int, before: str | None, *, unread: bool
    ) -> dict[str, Any]:
        """Return a page of the inbox, newest first, and how many items are unread in all."""
        limit = min(limit, PAGE_ITEMS_MAX)
        return await self._database.read(
            context, lambda tx: inbox.newest(tx, context, limit, before, unread=unread)
        )

    async def mark_read(self, context: UserContext, item_id: str) -> None:
        """Mark an item of the inbox as read."""
        now = self._clock.now()
        await self._database.write(context, lambda tx: inbox.mark_read(tx, context, item_id, now))

    async def preferences(self, context: UserContext) -> Preferences:
        """Return what the user wants to hear of."""
        return await self._database.read(context, lambda tx: preferences.read(tx, context.user_id))

    async def choose(self, context: UserContext, chosen: Preferences) -> None:
        """Keep what the user wants to hear of from now on."""
        await self._database.write(
            context, lambda tx: preferences.write(tx, context.user_id, chosen)
        )

    async def webhooks(self, context: UserContext) -> list[dict[str, Any]]:
        """Return the user's webhooks, without their secrets."""
        return await self._database.read(context, lambda tx: webhooks.every(tx, context))

    async def add_webhook(self, context: UserContext, url: str) -> dict[str, Any]:
        """Make a webhook; its `secret` is in this answer and in no other.

        The name in the URL is looked up when it is called, not now.

        Raises:
            InvalidInput: `url_blocked`.
            LimitExceeded: `too_many_webhooks`.
        """
        self._egress.check(url)
        webhook_id, secret, now = self._ids.new("wh"), new_secret(), self._clock.now()
        made = await self._database.write(
            context, lambda tx: webhooks.add(tx, context, webhook_id, url, secret, now)
        )
        return made | {"secret": secret}

    async def delete_webhook(self, context: UserContext, webhook_id: str) -> None:
        """Remove a webhook; what was not delivered yet is not sent any more."""
        await self._database.write(context, lambda tx: webhooks.delete(tx, context, webhook_id))

    async def deliveries(
        self, context: UserContext, webhook_id: str, limit: int
    ) -> list[dict[str, Any]]:
        """Return what was sent to a webhook, newest first, and how it went."""
        limit = min(limit, PAGE_ITEMS_MAX)
        return await self._database.read(
            context, lambda tx: webhooks.deliveries(tx, context, webhook_id, limit)
        )
