"""Threads, their snapshots, and the events of streams page by page."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from tidings.domain.commands import IfBusy
from tidings.domain.events import thread_stream
from tidings.gateway.http.answers import Json
from tidings.gateway.http.bodies import Body
from tidings.gateway.http.callers import Caller, Collaborators, access_token
from tidings.gateway.http.event_stream import EventStream

router = APIRouter(prefix="/api", tags=["threads"])

Limit = Annotated[int, Query(ge=1, le=1000)]
Place = Annotated[str, Query(max_length=128)]
Offset = Annotated[int, Field(ge=1, le=2**53)]


class Title(Body):
    """What a thread is called."""

    title: str = Field(min_length=1, max_length=256)


@router.get("/threads")
async def list_threads(
    context: Caller, into: Collaborators, limit: Limit = 50, before: Place | None = None
) -> Response:
    """Return your threads, newest first; `before` is the last thread_id of the page before."""
    return Json({"threads": await into.reads.threads(context, limit, before)})


@router.post("/threads", status_code=201)
async def create_thread(body: Title, context: Caller, into: Collaborators) -> Response:
    """Begin an empty thread."""
    return Json(await into.reads.create_thread(context, body.title), 201)


@router.get("/threads/{thread_id}")
async def get_thread(thread_id: str, context: Caller, into: Collaborators) -> Response:
    """Return a thread and its runs."""
    return Json(await into.reads.thread(context, thread_id))


class ThreadChange(Body):
    """What shall be different; what is left out stays."""

    title: str | None = Field(default=None, min_length=1, max_length=256)
    if_busy: Annotated[IfBusy, Field(strict=False)] | None = None


@router.patch("/threads/{thread_id}", status_code=204)
async def change_thread(
    thread_id: str, body: ThreadChange, context: Caller, into: Collaborators
) -> Response:
    """Give a thread another title, or say what becomes of a message while a run is open in it."""
    await into.reads.change_thread(context, thread_id, body.title, body.if_busy)
    return Response(status_code=204)


@router.delete("/threads/{thread_id}", status_code=204)
async def delete_thread(thread_id: str, context: Caller, into: Collaborators) -> Response:
    """Remove a thread and everything in it."""
    await into.reads.delete_thread(context, thread_id)
    return Response(status_code=204)


@router.get("/threads/{thread_id}/snapshot")
async def snapshot(thread_id: str, context: Caller, into: Collaborators) -> Response:
    """Return a thread's state and the cursor it stands at, read together."""
    return Json(await into.reads.snapshot(context, thread_id))


@router.get("/threads/{thread_id}/events", response_class=StreamingResponse)
async def follow(
    thread_id: str,
    request: Request,
    context: Caller,
    into: Collaborators,
    after: Place = "0",
    last_event_id: Annotated[str | None, Header(max_length=128)] = None,
) -> Response:
    """Follow a thread as server-sent events; `Last-Event-ID` goes before `after`."""
    expires_at = into.identity.expires_at(access_token(request))
    reader = EventStream(into.presence, into.clock, context, expires_at)
    position = after if last_event_id is None else last_event_id
    return await reader.open(into.feed, thread_stream(thread_id), position)


@router.get("/streams/{stream}/events")
async def events(
    stream: str,
    context: Caller,
    into: Collaborators,
    after: Place = "0",
    limit: Limit = 500,
) -> Response:
    """Return events after an offset or cursor, as they stand on the wire, with the head."""
    return Json(await into.reads.events(context, stream, after, limit))


class Applied(Body):
    """How far a device has applied the streams."""

    device: str = Field(min_length=1, max_length=64)
    positions: dict[Annotated[str, Field(max_length=128)], Offset] = Field(max_length=64)


@router.put("/positions", status_code=204)
async def acknowledge(body: Applied, context: Caller, into: Collaborators) -> Response:
    """Acknowledge events that did not come over a socket: they count as delivered."""
    into.positions.acknowledge(context, body.device, body.positions)
    return Response(status_code=204)
