"""A scheduler brings runs to workers, and knows no more of them: the store decides who goes on."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from tidings.domain.tiers import Tier


class Urgency(IntEnum):
    """Which errand goes first: the lowest number.

    BEGUN was worked on before, and its user waits. FRESH was not. BACKGROUND is what nobody waits
    for.
    """

    BEGUN = 0
    FRESH = 1
    BACKGROUND = 2


@dataclass(frozen=True, slots=True)
class Errand:
    """A run for some worker.

    `fence` is the run's when it was sent, so that one which has gone on since is known. `seconds`:
    after so long nobody needs it any more. `again`: it was brought before, and that worker was not
    heard of.
    """

    run_id: str
    fence: int
    user_id: str
    urgency: Urgency
    seconds: float
    again: bool = False


class NotNow(Exception):
    """What was brought cannot be taken here and now; bring it again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again after {seconds} s")
        self.seconds = seconds


Take = Callable[[Errand], Coroutine[Any, Any, None]]
"""Takes an errand, and returns when there is no more to do with it; or raises NotNow."""


class Scheduler(Protocol):
    """Brings errands to workers, in an order that is fair to users.

    It may bring one twice, late or never; it may be away for hours. Nothing rests on it but speed.
    """

    @property
    def patience_seconds(self) -> float:
        """How long workers leave a run to the scheduler before they look for it by themselves."""
        ...

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """What can say how it is: the scheduler itself, where there is one."""
        ...

    async def send(self, errand: Errand) -> None:
        """Have it brought to some worker. Sending it again changes nothing.

        Raises:
            Unavailable: `scheduler_unavailable`: it was perhaps not taken.
        """
        ...

    async def bring(self, slots: int, take: Take) -> None:
        """Give this process errands, `slots` at once, until cancelled."""
        ...


class Unscheduled:
    """No scheduler: the workers look for runs by themselves."""

    patience_seconds = 0.0
    tiers: tuple[Tier, ...] = ()

    async def send(self, errand: Errand) -> None:
        """Leave it where it is: in the queue."""

    async def bring(self, slots: int, take: Take) -> None:
        """Bring nothing."""
