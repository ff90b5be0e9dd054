"""Is it alive, is it ready, how is it doing."""

import ipaddress
from hmac import compare_digest

from fastapi import APIRouter, Request, Response

from tidings.domain.errors import Unavailable
from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import (
    Caller,
    Collaborators,
    access_token,
    administrator,
    caller,
    peer,
)
from tidings.health.metrics import METRICS_TYPE

router = APIRouter(tags=["health"])
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


@router.get("/livez")
async def livez() -> Response:
    """Say that the process answers; nothing else is looked at."""
    return Json({"status": "ok"})


@router.get("/readyz")
async def readyz(into: Collaborators) -> Response:
    """Say whether to send work here."""
    if not await into.readiness.ready():
        raise Unavailable("not_ready", "This server takes no work now.")
    return Json({"status": "ready"})


@router.get("/api/status")
async def status(context: Caller, into: Collaborators) -> Response:
    """Return what users notice of the server's health, in sentences for them.

    `admin` says whether the caller may see more.
    """
    health = await into.health.now()
    notices = [
        {"code": concern.code, "message": concern.users}
        for concern in health.concerns
        if concern.users
    ]
    state = health.state if notices else "ok"
    admin = await into.identity.is_admin(context)
    return Json({"state": state, "notices": notices, "admin": admin})


@router.get("/metrics")
async def metrics(request: Request, into: Collaborators) -> Response:
    """Return the counters, to this machine, to an administrator, or for their own token."""
    if not _is_from_here(request) and not _opens_metrics(request, into.metrics_token):
        await administrator(await caller(request, into), into)
    await into.health.now()  # what is not well is among them
    return Response(into.metrics.render(), media_type=METRICS_TYPE)


def _opens_metrics(request: Request, expected: str) -> bool:
    return bool(expected) and compare_digest(access_token(request).encode(), expected.encode())


def _is_from_here(request: Request) -> bool:
    """Tell whether the other end is this machine, and not a proxy on it."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(peer(request)).is_loopback
    except ValueError:
        return False
