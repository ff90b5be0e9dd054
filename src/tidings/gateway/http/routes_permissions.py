"""What tools may do for you."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from tidings.domain.permissions import Permission
from tidings.gateway.http.answers import Json
from tidings.gateway.http.bodies import Body
from tidings.gateway.http.callers import Caller, Collaborators

router = APIRouter(prefix="/api", tags=["permissions"])

ToolName = Annotated[str, Field(max_length=128)]


class Wishes(Body):
    """What you say about some tools; null takes it back."""

    permissions: dict[ToolName, Annotated[Permission, Field(strict=False)] | None] = Field(
        max_length=256
    )


@router.get("/permissions")
async def get_permissions(context: Caller, into: Collaborators) -> Response:
    """Return every tool, its effect, and what you have said about it."""
    return Json({"tools": await into.permissions.shown(context)})


@router.put("/permissions")
async def put_permissions(body: Wishes, context: Caller, into: Collaborators) -> Response:
    """Say of some tools whether they may be used, must ask, or may not be used."""
    return Json({"tools": await into.permissions.tell(context, body.permissions)})
