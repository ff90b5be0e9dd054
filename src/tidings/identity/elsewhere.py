"""What happens to a user at other servers: connections, devices that arrive, sessions that end."""

from collections.abc import Callable

from tidings.domain.errors import Unavailable
from tidings.resilience.rates import Allowance
from tidings.storage.hot.port import Hints, Precedence, Rates
from tidings.storage.notes import UserNote

UNKNOWN = 0
"""Where in the order a connection stands that was made while nobody could say."""
DEVICES_PER_LOOK_MAX = 500
CONNECTIONS_PER_USER_MAX = 600
CONNECTIONS_WINDOW_SECONDS = 60

_CONNECTIONS = Allowance(
    "connections of a user", CONNECTIONS_PER_USER_MAX, CONNECTIONS_WINDOW_SECONDS
)


class SessionsEnded(UserNote, frozen=True):
    """A note: some session of the user has ended. Which one, the store tells."""


class DeviceArrived(UserNote, frozen=True):
    """A note: the user's device has connected; older connections of it are over."""

    device: str
    claim: int


class Elsewhere:
    """Tells other servers what happens here, and hears of what happens there.

    All of it may be lost. Where the hot tier is away, servers do not hear of each other.
    """

    def __init__(self, hints: Hints, precedence: Precedence, rates: Rates) -> None:
        self._hints = hints
        self._rates = rates
        self._precedence = precedence

    def listen(
        self, arrived: Callable[[DeviceArrived], None], ended: Callable[[SessionsEnded], None]
    ) -> None:
        """Call these from now on: for users attended to, and for what happens here."""
        self._hints.hear(DeviceArrived, arrived)
        self._hints.hear(SessionsEnded, ended)

    def attend(self, user_id: str) -> None:
        """Hear of this user, until `leave` was called as often."""
        self._hints.attend(user_id)

    def leave(self, user_id: str) -> None:
        """Take back one `attend`."""
        self._hints.leave(user_id)

    async def connect(self, user_id: str) -> float:
        """Count a connection of the user's, over all servers; return 0, or how long to wait."""
        return await self._rates.take(_CONNECTIONS, user_id)

    async def arrive(self, user_id: str, device: str) -> int:
        """Tell that a device has connected; return its place in the order, perhaps UNKNOWN."""
        try:
            claim = await self._precedence.claim(_key(user_id, device))
        except Unavailable:
            return UNKNOWN
        self._hints.publish(DeviceArrived(user_id, device, claim))
        return claim

    async def newest(self, devices: list[tuple[str, str]]) -> list[int]:
        """Return, for users and devices, the place in the order of the newest connection.

        UNKNOWN stands for those that connected nowhere of late, and for all while nobody can say.
        """
        found: list[int] = []
        for start in range(0, len(devices), DEVICES_PER_LOOK_MAX):
            some = devices[start : start + DEVICES_PER_LOOK_MAX]
            try:
                found += await self._precedence.newest([_key(*names) for names in some])
            except Unavailable:
                found += [UNKNOWN] * len(some)
        return found


def _key(user_id: str, device: str) -> str:
    return f"{user_id} {device}"
