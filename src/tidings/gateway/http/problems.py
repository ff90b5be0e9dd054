"""Every error leaves as `application/problem+json` (RFC 9457), and carries nothing secret."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tidings.domain.errors import InvalidInput, TidingsError, Unauthenticated

PROBLEM_TYPE = "application/problem+json"
_FRAMEWORK = {
    404: ("not_found", "There is no such object."),
    405: ("method_not_allowed", "This address does not take that method."),
}
_FIELD_CODES = {"extra_forbidden": "unknown_field", "string_unicode": "invalid_text"}


class Problem(TidingsError):
    """Something wrong with the request itself, before anyone looked at what it asks."""

    def __init__(
        self, code: str, message: str, *, status: int, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code, message, status=status)
        self.headers = dict(headers or {})


def answer(error: TidingsError, request_id: str) -> Response:
    """Write an error as its answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
        "retryable": error.retryable,
    }
    headers = error.headers if isinstance(error, Problem) else {}
    if isinstance(error, Unauthenticated):
        headers = {"WWW-Authenticate": "Bearer"}
    if error.retry_after_seconds is not None:
        body["retry_after_ms"] = math.ceil(error.retry_after_seconds * 1000)
        headers = headers | {"Retry-After": str(math.ceil(error.retry_after_seconds))}
    for hint in ("got", "did_you_mean"):
        if said := getattr(error, hint, None):
            body[hint] = said
    return Response(msgspec.json.encode(body), error.status, headers, PROBLEM_TYPE)


async def translate(_request: Request, error: Exception) -> Response:
    """Raise what the framework refuses in our own words; the edge answers."""
    if isinstance(error, RequestValidationError):
        raise _of_fields(error.errors()) from error
    if isinstance(error, HTTPException):
        fallback = ("bad_request", "The request cannot be served.")
        code, message = _FRAMEWORK.get(error.status_code, fallback)
        raise Problem(code, message, status=error.status_code, headers=error.headers) from error
    raise error


def _of_fields(faults: Sequence[Mapping[str, Any]]) -> TidingsError:
    """Name the first fault by its place, without repeating what was sent."""
    fault = faults[0]
    place = ".".join(str(step)[:64] for step in fault["loc"])
    code = _FIELD_CODES.get(fault["type"], "invalid_field")
    return InvalidInput(code, f"{place}: {fault['msg']}.")
