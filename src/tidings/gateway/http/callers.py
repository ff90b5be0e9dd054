"""Who calls: the one way in is `Authorization: Bearer`, the same for every route."""

from typing import Annotated

from fastapi import Depends, Request

from tidings.domain.context import UserContext
from tidings.domain.errors import Forbidden, Unauthenticated
from tidings.gateway.http.problems import Problem
from tidings.gateway.services import Services


def services(request: Request) -> Services:
    """Return the collaborators that the app was made with."""
    found: Services = request.app.state.services
    return found


Collaborators = Annotated[Services, Depends(services)]


async def caller(request: Request, into: Collaborators) -> UserContext:
    """Return who calls.

    Raises:
        Unauthenticated: no token, or one that is not good.
        Problem: `ambiguous_credentials`: two tokens, whoever of them is right.
    """
    return await into.identity.authenticate(access_token(request))


def access_token(request: Request) -> str:
    """Return the token that a request carries; raises as `caller` does."""
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        raise Problem("ambiguous_credentials", "Send one Authorization header.", status=400)
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    if scheme.lower() != "bearer":
        raise Unauthenticated("unauthenticated", "Send `Authorization: Bearer <access token>`.")
    return token.strip()


Caller = Annotated[UserContext, Depends(caller)]


async def administrator(context: Caller, into: Collaborators) -> UserContext:
    """Return who calls, if it is an administrator at this moment.

    Raises:
        Forbidden: `admin_only`: somebody signed in who is none.
    """
    if not await into.identity.is_admin(context):
        raise Forbidden("admin_only", "This is for administrators of this server.")
    return context


def peer(request: Request) -> str:
    """Return the address that asks; of it only the operator's own proxies are believed."""
    host = request.client.host if request.client else "unknown"
    said = (request.headers.getlist(name) for name in ("x-forwarded-for", "forwarded"))
    return services(request).proxies.client(host, *said)
