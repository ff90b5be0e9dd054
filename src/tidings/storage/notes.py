"""Notes: what has been committed, in the words of whoever commits it.

A note's class says how far it travels. A struct of neither class below stays in the process that
committed it: what only that process may count, or only it can act on.
"""

from typing import Self

import msgspec


class UserNote(msgspec.Struct, frozen=True):
    """A note of one user's affairs: it travels to the processes that attend to that user."""

    user_id: str

    def brief(self) -> Self:
        """Return the same note without what its hearer can read for itself, as it is too long."""
        return self


class FleetNote(msgspec.Struct, frozen=True):
    """A note that travels to every process that hears its kind. Small, and seldom enough."""
