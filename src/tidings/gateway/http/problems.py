"""Every error leaves as `application/problem+json` (RFC 9457), and carries nothing secret."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tidings.domain.errors import InvalidInput, LimitExceeded, TidingsError, Unauthenticated
from tidings.health.metrics import Metrics

PROBLEM_TYPE = "application/problem+json"
_CODES = {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}
_DETAILS = {404: "There is no such object.", 405: "This address does not take that method."}
_FIELD_CODES = {"extra_forbidden": "unknown_field", "string_unicode": "invalid_text"}


class Problem(TidingsError):
    """Something wrong with the request itself, before anyone looked at what it asks."""


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
    headers = {}
    if error.retry_after_seconds is not None:
        body["retry_after_ms"] = math.ceil(error.retry_after_seconds * 1000)
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    for hint in ("got", "did_you_mean"):
        if said := getattr(error, hint, None):
            body[hint] = said
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), error.status, headers, PROBLEM_TYPE)


def speak_problems(app: FastAPI, metrics: Metrics) -> None:
    """Make every refusal of the app a problem, and count it."""

    async def known(request: Request, error: Exception) -> Response:
        problem = _as_problem(error)
        metrics.refusals.labels(problem.code).inc()
        if isinstance(problem, LimitExceeded) or problem.status in {413, 429}:
            metrics.limit_hits.labels(problem.code).inc()
        response = answer(problem, request.state.request_id)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    for kind in (TidingsError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, known)


def _as_problem(error: Exception) -> TidingsError:
    if isinstance(error, TidingsError):
        return error
    if isinstance(error, RequestValidationError):
        return _of_fields(error.errors())
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = _DETAILS.get(status, "The request cannot be served.")
    return Problem(_CODES.get(status, "bad_request"), detail, status=status)


def _of_fields(faults: Sequence[Mapping[str, Any]]) -> TidingsError:
    """Name the first fault by its place, without repeating what was sent."""
    fault = faults[0]
    place = ".".join(str(step)[:64] for step in fault["loc"])
    code = _FIELD_CODES.get(fault["type"], "invalid_field")
    return InvalidInput(code, f"{place}: {fault['msg']}.")
