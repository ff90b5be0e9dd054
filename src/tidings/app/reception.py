"""The reception: what clients connect to, and what follows the log for them."""

from dataclasses import dataclass

from starlette.types import ASGIApp

from tidings.app.pieces import Ground
from tidings.app.tiers import Hot
from tidings.events.feed import Feed
from tidings.events.positions import Positions
from tidings.gateway.presence import Presence
from tidings.gateway.socket import Backend
from tidings.gateway.sockets import Sockets, no_sockets
from tidings.health.levels import DeliveryLevels
from tidings.health.parts import Part
from tidings.identity.elsewhere import Elsewhere
from tidings.identity.service import Identity
from tidings.protocol.connection import PACE
from tidings.router.accept import Router
from tidings.settings import Settings


@dataclass(frozen=True, slots=True)
class Reception:
    """What delivers: the feed, how far clients are, who is connected, and the sockets."""

    feed: Feed
    positions: Positions
    presence: Presence
    sockets: ASGIApp

    def parts(self, settings: Settings) -> dict[str, Part]:
        """Return what of it always runs where clients connect."""
        if not settings.serves_clients:
            return {}
        return {"feed": self.feed.run, "presence": self.presence.run}


def reception_of(
    ground: Ground, hot: Hot, identity: Identity, router: Router, levels: DeliveryLevels
) -> Reception:
    """Wire what clients meet; `levels` counts how fast it is."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    feed, positions = Feed(database, hot.hints), Positions(database, clock)
    presence = Presence(identity, positions, Elsewhere(hot.hints, hot.precedence, hot.rates))
    if not settings.serves_clients:
        return Reception(feed, positions, presence, no_sockets)
    backend = Backend(identity, router, feed, positions, ground.metrics, clock, PACE, levels)
    sockets = Sockets(backend, presence, ground.ids, origins=settings.origin_list)
    return Reception(feed, positions, presence, sockets)
