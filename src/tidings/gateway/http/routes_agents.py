"""The agents that can be asked. Whoever is signed in may ask any of them."""

from fastapi import APIRouter, Depends, Response

from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Collaborators, caller

router = APIRouter(prefix="/api", tags=["agents"], dependencies=[Depends(caller)])


@router.get("/agents")
async def agents(into: Collaborators) -> Response:
    """Return the agents by name, what each does, whether it does well, and which is the default."""
    return Json({"agents": into.choices.shown()})
