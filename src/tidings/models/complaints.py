"""What the log says of a model: that it has come to fail, and that it answers again."""

import logging

from tidings.domain.errors import Failure
from tidings.models.faults import FOR_THE_OPERATOR
from tidings.resilience.breaker import BreakerState

COMPLAINT_SECONDS_MIN = 60.0
"""Between two complaints of one model."""

_log = logging.getLogger(__name__)


class Complaints:
    """Complains of one model once, until it answers: of what the operator must mend, and of rests.

    What is said names the model and the fault's code: nothing of a request or a reply.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._said = ""
        self._quiet_until = 0.0

    def failed(self, failure: Failure, breaker: BreakerState, now: float) -> None:
        """Take note of a failure, and of the breaker's state behind it."""
        code = failure.code
        lasting = code in FOR_THE_OPERATOR
        if not lasting and (breaker is BreakerState.CLOSED or self._said):
            return
        if code == self._said or now < self._quiet_until:
            return
        self._said, self._quiet_until = code, now + COMPLAINT_SECONDS_MIN
        if lasting:
            _log.warning("%s (%s)", failure.message, code)
        else:
            _log.warning(
                "%s fails most of the time (%s); it is left alone for now", self._model, code
            )

    def answered(self) -> None:
        """Take note that it works."""
        if self._said:
            _log.info("%s answers again", self._model)
        self._said = ""
