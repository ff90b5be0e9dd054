"""Files: upload, list, look, delete."""

from fastapi import APIRouter, Request, Response

from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Caller, Collaborators
from tidings.gateway.http.uploads import Upload

router = APIRouter(prefix="/api/files", tags=["files"])
_MULTIPART = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@router.post("", status_code=201, openapi_extra=_MULTIPART)
async def upload(request: Request, context: Caller, into: Collaborators) -> Response:
    """Store and import a file; returns `file_id`, `name`, `bytes` and what the import found."""
    body = Upload(request, into.upload_bytes_max)
    name = await body.open()
    return Json(await into.files.add(context, name, body.chunks()), 201)


@router.get("")
async def list_files(context: Caller, into: Collaborators) -> Response:
    """Return your files."""
    return Json({"files": await into.files.list(context)})


@router.get("/{file_id}")
async def get_file(file_id: str, context: Caller, into: Collaborators) -> Response:
    """Return one file and what its import found."""
    return Json(await into.files.get(context, file_id))


@router.delete("/{file_id}", status_code=204)
async def delete_file(file_id: str, context: Caller, into: Collaborators) -> Response:
    """Remove a file for good."""
    await into.files.delete(context, file_id)
    return Response(status_code=204)
