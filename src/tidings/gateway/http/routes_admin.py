"""What administrators see. The guard stands on the router: a route here cannot forget it."""

from fastapi import APIRouter, Depends, Response

from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Collaborators, administrator

router = APIRouter(prefix="/api", tags=["admin"], dependencies=[Depends(administrator)])


@router.get("/health")
async def health(into: Collaborators) -> Response:
    """Return how the server is: as a whole, what is not well, and section by section."""
    return Json(await into.health.now())
