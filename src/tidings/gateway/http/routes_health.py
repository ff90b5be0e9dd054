"""Is it alive, is it ready, how is it doing."""

import ipaddress

from fastapi import APIRouter, Request, Response

from tidings.domain.errors import Unavailable
from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Collaborators, administrator, caller, peer
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


@router.get("/metrics")
async def metrics(request: Request, into: Collaborators) -> Response:
    """Return the counters, to this machine or to an administrator."""
    if not _is_from_here(request):
        await administrator(await caller(request, into), into)
    return Response(into.metrics.render(), media_type=METRICS_TYPE)


def _is_from_here(request: Request) -> bool:
    """Tell whether the other end is this machine, and not a proxy on it."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(peer(request)).is_loopback
    except ValueError:
        return False
