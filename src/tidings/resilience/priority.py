"""How urgent a piece of work is."""

from enum import IntEnum


class Priority(IntEnum):
    """The lowest number goes first, and is refused last.

    CANCEL is what ends work or lets it go on (a stop, an answer, leave for a call): it makes the
    load less, so it is never refused. INTERACTIVE is what somebody waits for. BACKGROUND is what
    will not be begun at once anyway.
    """

    CANCEL = 0
    INTERACTIVE = 1
    BACKGROUND = 2
