"""What authors test their agents with; what is named here stays, all else may move."""

from tidings.testing.mortal import FixedClock
from tidings.testing.rehearsal import (
    Astray,
    Crash,
    Person,
    Rehearsal,
    Story,
    crash_everywhere,
    nobody,
    rehearse,
)
from tidings.testing.script import Script, call, gives, says, wants

__all__ = [
    "Astray",
    "Crash",
    "FixedClock",
    "Person",
    "Rehearsal",
    "Script",
    "Story",
    "call",
    "crash_everywhere",
    "gives",
    "nobody",
    "rehearse",
    "says",
    "wants",
]
