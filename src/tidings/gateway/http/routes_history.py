"""What was said before, and what it has cost."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from tidings.gateway.http.answers import Json
from tidings.gateway.http.callers import Caller, Collaborators
from tidings.history.service import DAYS_MAX, PAGE_EVENTS_MAX

router = APIRouter(prefix="/api", tags=["history"])

Days = Annotated[int, Query(ge=1, le=DAYS_MAX)]


@router.get("/threads/{thread_id}/history")
async def thread_history(
    thread_id: str,
    context: Caller,
    into: Collaborators,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_EVENTS_MAX)] = 200,
) -> Response:
    """Return events of a thread before an offset, or its newest, oldest first, however old."""
    return Json(await into.history.page(context, thread_id, before, limit))


@router.get("/usage")
async def get_usage(context: Caller, into: Collaborators, days: Days | None = None) -> Response:
    """Return what you have spent today (UTC), what is reserved now, and your limits.

    With `days`, also what your ended runs have taken in so many days, by day and model.
    """
    today = await into.spending.today(context)
    past = {} if days is None else {"past": await into.history.usage(context, days)}
    return Json(today | past)
