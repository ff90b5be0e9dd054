"""The wire's own description, beside `/openapi.json`."""

from importlib.metadata import version

from fastapi import APIRouter, Response

from tidings.gateway.http.answers import Json
from tidings.protocol import schema

router = APIRouter(tags=["schema"])


@router.get("/asyncapi.json")
async def asyncapi() -> Response:
    """Return the socket's frames and events as an AsyncAPI 3.0 document."""
    return Json(schema.asyncapi(version("tidings")))


@router.get("/schema.json")
async def json_schema() -> Response:
    """Return the socket's messages as a JSON Schema."""
    return Json(schema.json_schema())
