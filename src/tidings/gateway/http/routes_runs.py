"""Commands and runs."""

import msgspec
from fastapi import APIRouter, Request, Response

from tidings.domain.commands import StopAgent, StopPayload
from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Caller, Collaborators
from tidings.protocol.frames import COMMANDS, decode_command

router = APIRouter(prefix="/api", tags=["runs"])
_COMMAND = {
    "requestBody": {
        "required": True,
        "description": "Any command frame of the socket protocol.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "id", "payload"],
                    "properties": {
                        "type": {"enum": list(COMMANDS)},
                        "id": {"type": "string", "description": "yours; resending changes nothing"},
                        "payload": {"type": "object"},
                    },
                }
            }
        },
    }
}


@router.post("/commands", openapi_extra=_COMMAND)
async def command(request: Request, context: Caller, into: Collaborators) -> Response:
    """Carry out a command; the receipt means that it is durable."""
    receipt = await into.router.accept(context, decode_command(await request.body()))
    return Json(
        {
            "ref": receipt.ref,
            "run_id": receipt.run_id,
            "thread_id": receipt.thread_id,
            "offset": receipt.offset,
            "duplicate": receipt.duplicate,
        }
    )


@router.get("/runs/{run_id}")
async def get_run(run_id: str, context: Caller, into: Collaborators) -> Response:
    """Return how a run stands."""
    return Json(await into.reads.run(context, run_id))


@router.get("/runs/{run_id}/calls/{call_id}")
async def get_call(run_id: str, call_id: str, context: Caller, into: Collaborators) -> Response:
    """Return how a tool call ended, with the whole of its result."""
    return Json(msgspec.Raw(await into.reads.call(context, run_id, call_id)))


@router.post("/runs/{run_id}/cancel", status_code=202)
async def cancel_run(run_id: str, context: Caller, into: Collaborators) -> Response:
    """Ask a run to stop; its last event will say that it did."""
    stop = StopAgent(into.ids.new("c"), StopPayload(run_id))
    await into.router.accept(context, stop)
    return Response(status_code=202)
