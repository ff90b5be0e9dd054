"""Every way Tidings says no.

TidingsError              code · status (HTTP) · retryable · message for the user
├── InvalidInput          422  what was sent cannot be used; mend it and send again
├── Unauthenticated       401  say who you are, again
├── Forbidden             403  known, but not allowed
├── NotFound              404  unknown or somebody else's: the two are never told apart
├── Conflict              409  contradicts what is recorded
├── LimitExceeded         429  a named limit; 413 for sizes
├── Unavailable           503  try again later
│   ├── Undecided         503  nobody knows whether it is done: the same again, under the same id
│   └── Unusable          503  the store answers and must not be worked on: a server ends
└── Failure               500  a step of work failed; `code` says which and why
    └── DeadlineExceeded  504  it did not finish within its time

A message is written for the person who reads it, says what to do, and carries nothing secret.
"""


class TidingsError(Exception):
    """Something that a user is told, by code and sentence."""

    status = 500
    retryable = False

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        if status is not None:
            self.status = status


class InvalidInput(TidingsError):
    """What was sent cannot be used as it is."""

    status = 422


class Unauthenticated(TidingsError):
    """No valid credentials."""

    status = 401


class Forbidden(TidingsError):
    """The user is known and may not do this."""

    status = 403


class NotFound(TidingsError):
    """Unknown, or another user's: deliberately the same answer."""

    status = 404

    def __init__(self, message: str = "There is no such object.") -> None:
        super().__init__("not_found", message)


class Conflict(TidingsError):
    """It contradicts what is already recorded."""

    status = 409


class LimitExceeded(TidingsError):
    """A named limit was reached."""

    status = 429


class Unavailable(TidingsError):
    """Not now; the same request may succeed later."""

    status = 503
    retryable = True


class Undecided(Unavailable):
    """The answer was lost on its way: it may be done, or not."""


class Unusable(Unavailable):
    """The store is there, and nobody may work on it before somebody has mended it."""


class Failure(TidingsError):
    """A step of work failed; the run decides what that means."""


class DeadlineExceeded(Failure):
    """The work did not finish within its time."""

    status = 504
