"""Signing in, staying in, signing out, and tickets for the socket."""

from fastapi import APIRouter, Request, Response
from pydantic import Field

from tidings.gateway.http.answers import Json
from tidings.gateway.http.bodies import Body
from tidings.gateway.http.callers import Caller, Collaborators, peer
from tidings.identity.tokens import TICKET_TTL_SECONDS

router = APIRouter(prefix="/api", tags=["session"])


class Login(Body):
    """Name and password."""

    username: str = Field(max_length=256)
    password: str = Field(max_length=1024)


class Refresh(Body):
    """The refresh token, to be exchanged."""

    refresh_token: str = Field(max_length=256)


@router.post("/login")
async def login(body: Login, request: Request, into: Collaborators) -> Response:
    """Sign in; returns `access_token`, `expires_in` (seconds) and `refresh_token`."""
    return Json(await into.identity.login(body.username, body.password, peer=peer(request)))


@router.post("/refresh")
async def refresh(body: Refresh, into: Collaborators) -> Response:
    """Exchange a refresh token, once; a second use signs the whole session out."""
    return Json(await into.identity.refresh(body.refresh_token))


@router.post("/logout", status_code=204)
async def logout(context: Caller, into: Collaborators) -> Response:
    """Sign out: tokens, tickets and open sockets of this session end at once."""
    await into.identity.logout(context)
    return Response(status_code=204)


@router.post("/ws-ticket")
async def ws_ticket(context: Caller, into: Collaborators) -> Response:
    """Return a ticket that opens one socket within `expires_in` seconds."""
    ticket = into.identity.ticket(context)
    return Json({"ticket": ticket, "expires_in": TICKET_TTL_SECONDS})
