"""The inbox, what to be told of, and webhooks."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from tidings.gateway.http.answers import Json
from tidings.gateway.http.bodies import Body
from tidings.gateway.http.callers import Caller, Collaborators
from tidings.notifications.preferences import KINDS, Preferences

router = APIRouter(prefix="/api", tags=["notifications"])

Limit = Annotated[int, Query(ge=1, le=200)]
Place = Annotated[str, Query(max_length=128)]
Kinds = Annotated[
    list[
        Literal[
            "agent_cancelled",
            "agent_completed",
            "agent_failed",
            "approval_required",
            "input_required",
        ]
    ],
    Field(max_length=len(KINDS)),
]


class Choice(Body):
    """Which kinds of events go to the inbox, and which to webhooks."""

    inbox: Kinds
    webhooks: Kinds


class NewWebhook(Body):
    """Where to call."""

    url: str = Field(min_length=1, max_length=2048)


@router.get("/inbox")
async def inbox(
    context: Caller,
    into: Collaborators,
    limit: Limit = 50,
    before: Place | None = None,
    unread: bool = False,  # noqa: FBT001, FBT002 - a parameter of the query
) -> Response:
    """Return what ended while you were away, newest first; `before` is the last item_id."""
    return Json(await into.notifications.inbox(context, limit, before, unread=unread))


@router.post("/inbox/{item_id}/read", status_code=204)
async def mark_read(item_id: str, context: Caller, into: Collaborators) -> Response:
    """Mark an item as read."""
    await into.notifications.mark_read(context, item_id)
    return Response(status_code=204)


@router.get("/preferences")
async def get_preferences(context: Caller, into: Collaborators) -> Response:
    """Return what you are told of, and where."""
    return Json(await into.notifications.preferences(context))


@router.put("/preferences", status_code=204)
async def put_preferences(body: Choice, context: Caller, into: Collaborators) -> Response:
    """Choose what you are told of from now on."""
    chosen = Preferences(tuple(sorted(set(body.inbox))), tuple(sorted(set(body.webhooks))))
    await into.notifications.choose(context, chosen)
    return Response(status_code=204)


@router.get("/webhooks")
async def list_webhooks(context: Caller, into: Collaborators) -> Response:
    """Return your webhooks."""
    return Json({"webhooks": await into.notifications.webhooks(context)})


@router.post("/webhooks", status_code=201)
async def add_webhook(body: NewWebhook, context: Caller, into: Collaborators) -> Response:
    """Add a webhook; the `secret` that signs its deliveries is shown this once."""
    return Json(await into.notifications.add_webhook(context, body.url), 201)


@router.delete("/webhooks/{webhook_id}", status_code=204)
async def delete_webhook(webhook_id: str, context: Caller, into: Collaborators) -> Response:
    """Remove a webhook; nothing more is sent to it."""
    await into.notifications.delete_webhook(context, webhook_id)
    return Response(status_code=204)


@router.get("/webhooks/{webhook_id}/deliveries")
async def deliveries(
    webhook_id: str, context: Caller, into: Collaborators, limit: Limit = 50
) -> Response:
    """Return what was sent to a webhook, newest first, and how it went; dead letters included."""
    return Json({"deliveries": await into.notifications.deliveries(context, webhook_id, limit)})
