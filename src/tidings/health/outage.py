"""An outage in the log: one line with its reason when it begins, however long it lasts."""

import logging
from types import TracebackType

from tidings.domain.errors import Unavailable


class Outage:
    """Goes on behind a block that ends as unavailable, or by one of the faults; says so once.

    `reason` is why the last block did, empty when it came to its end.
    """

    def __init__(self, log: logging.Logger, what_waits: str, *faults: type[Exception]) -> None:
        self._log = log
        self._what_waits = what_waits
        self._faults: tuple[type[Exception], ...] = (Unavailable, *faults)
        self.reason = ""

    def __enter__(self) -> None:
        """Begin a block."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        """Take note of how it ended; tell whether that is an outage, and borne."""
        if error is None:
            self.reason = ""
        if not isinstance(error, self._faults):
            return False
        reason = str(error) or type(error).__name__
        if not self.reason:
            self._log.warning("%s: %s", self._what_waits, reason)
        self.reason = reason
        return True
