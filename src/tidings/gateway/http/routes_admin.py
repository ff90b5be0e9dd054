"""What administrators see. The guard stands on the router: a route here cannot forget it."""

from fastapi import APIRouter, Depends, Response

from tidings.domain.context import SERVER
from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Collaborators, administrator
from tidings.gateway.http.routes_history import Days

router = APIRouter(prefix="/api", tags=["admin"], dependencies=[Depends(administrator)])


@router.get("/health")
async def health(into: Collaborators) -> Response:
    """Return how the server is: as a whole, what is not well, and section by section."""
    return Json(await into.health.now())


@router.get("/admin/usage")
async def usage(into: Collaborators, days: Days = 30) -> Response:
    """Return what everybody's ended runs have taken, by day, user and model."""
    return Json(await into.history.usage(SERVER, days))


@router.get("/admin/levels")
async def levels(into: Collaborators, days: Days = 7) -> Response:
    """Return how fast events were delivered, and how runs ended."""
    return Json(await into.history.levels(days))
