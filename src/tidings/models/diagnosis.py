"""Which fault is it? From what a provider's library raised to a name of ours."""

import re
from collections.abc import Callable, Iterator

import httpx2
from anthropic import AnthropicError
from openai import OpenAIError
from pydantic_ai import exceptions as ai

from tidings.models import faults
from tidings.models.faults import ModelFault, TimeLimit
from tidings.models.patience import TIME_LIMITS
from tidings.models.port import Usage
from tidings.models.wire import UnfitReply

CAUSES_MAX = 16

REPLY_FAULTS = (
    ArithmeticError,
    AnthropicError,
    AssertionError,
    AttributeError,
    LookupError,
    OpenAIError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    httpx2.HTTPError,
)
"""What a provider's library may raise at something that is no reply; pydantic-ai's own errors are
runtime errors."""

_SPENT = re.compile(r"insufficient_quota|spend(ing)? limit|usage limits|credit balance", re.I)
_READ_CHARACTERS = 2_000
_TOO_LONG = 413
_TOO_MANY = 429
_SERVER_ERRORS = range(500, 600)


def diagnosed(name: str, error: BaseException, usage: Usage) -> ModelFault:
    """Return the fault, without a word of the provider's own: it may repeat a key or a prompt."""
    fault = _fault(name, error)
    fault.usage = usage
    return fault


def _fault(name: str, error: BaseException) -> ModelFault:
    for cause in _causes(error):
        if isinstance(cause, UnfitReply):
            return faults.bad_reply(name, str(cause))
        if isinstance(cause, ai.ModelTimeoutError | httpx2.TimeoutException):
            return faults.timed_out(name, TimeLimit.CONNECT, TIME_LIMITS.connect)
    match error:
        case ai.ContentFilterError():
            return faults.refused(name)
        case ai.ModelAPIError():
            return _reported(name, error)
        case ai.UserError():
            return faults.unable(name)
        case httpx2.HTTPError() | ConnectionError():
            return faults.unavailable(name)
        case _:
            return faults.bad_reply(name)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    cause: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _reported(name: str, error: ai.ModelAPIError) -> ModelFault:
    """Return the fault for an error that the provider reported, or that befell the connection."""
    if isinstance(error, ai.ModelHTTPError) and error.status_code == _TOO_LONG:
        return faults.context_too_long(name)
    for kind, fault in _KINDS:
        if isinstance(error, kind):
            return fault(name, error)
    if isinstance(error.__cause__, ValueError | TypeError | LookupError):
        return faults.bad_reply(name)
    return faults.unavailable(name, error.retry_after)


def _limited(name: str, error: ai.ModelAPIError) -> ModelFault:
    """Tell a limit of the pace, which passes, from one of spending, which does not."""
    if _SPENT.search(f"{error.provider_error_code} {error.body}"[:_READ_CHARACTERS]):
        return faults.quota_exhausted(name)
    return faults.rate_limited(name, error.retry_after)


def _by_status(name: str, error: ai.ModelAPIError) -> ModelFault:
    assert isinstance(error, ai.ModelHTTPError)  # noqa: S101 - by the table below
    if error.status_code == _TOO_MANY:
        return _limited(name, error)
    if error.status_code in _SERVER_ERRORS:
        return faults.unavailable(name, error.retry_after)
    return faults.rejected(name)


_KINDS: tuple[tuple[type[ai.ModelAPIError], Callable[[str, ai.ModelAPIError], ModelFault]], ...] = (
    (ai.ModelQuotaExceededError, lambda name, _: faults.quota_exhausted(name)),
    (ai.ModelRateLimitError, _limited),
    (ai.ModelUnavailableError, lambda name, error: faults.overloaded(name, error.retry_after)),
    (ai.ModelContextWindowExceededError, lambda name, _: faults.context_too_long(name)),
    (ai.ModelAuthenticationError, lambda name, _: faults.auth_failed(name)),
    (ai.ModelRequestRejectedError, lambda name, _: faults.rejected(name)),
    (ai.ModelHTTPError, _by_status),
)
"""The first that fits counts: special cases before what they are cases of."""
