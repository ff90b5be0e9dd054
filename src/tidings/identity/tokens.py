"""Signed tokens and tickets: the one place that issues them, and the one that believes them."""

import base64
import binascii
from dataclasses import dataclass

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from tidings.domain.context import UserContext
from tidings.domain.errors import Unauthenticated
from tidings.domain.strict_json import strict_json

ACCESS_TTL_SECONDS = 15 * 60
TICKET_TTL_SECONDS = 30
LEEWAY_SECONDS = 30
"""How far the clocks of two servers may be apart."""
TOKEN_BYTES_MAX = 8 * 1024
ALGORITHM = "HS256"
ISSUER = "tidings"


@dataclass(frozen=True, slots=True)
class TokenKind:
    """What tells one kind of token from another: who believes one does not believe the other."""

    type: str
    audience: str
    ttl_seconds: int
    grace_seconds: int

    @property
    def header(self) -> dict[str, str]:
        """The only header that is believed."""
        return {"alg": ALGORITHM, "typ": self.type}


ACCESS = TokenKind("at+jwt", "tidings", ACCESS_TTL_SECONDS, LEEWAY_SECONDS)
TICKET = TokenKind("ticket+jwt", "tidings/ws", TICKET_TTL_SECONDS, 0)
"""A ticket opens one connection; that it is used once is for its redeemer to see to."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says, all of it required: who, in which login, from when to when."""

    iss: str
    aud: str
    sub: str
    sid: str
    tid: str
    iat: int
    exp: int
    jti: str

    def context(self) -> UserContext:
        """Return who the token speaks for."""
        return UserContext(tenant_id=self.tid, user_id=self.sub, session_id=self.sid)


class Tokens:
    """Issues and verifies with one symmetric key and nothing to negotiate."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)

    def issue(
        self, context: UserContext, token_id: str, now: float, kind: TokenKind = ACCESS
    ) -> str:
        """Return a token for the user's session, good for as long as its kind is."""
        claims = Claims(
            iss=ISSUER,
            aud=kind.audience,
            sub=context.user_id,
            sid=context.session_id,
            tid=context.tenant_id,
            iat=int(now),
            exp=int(now) + kind.ttl_seconds,
            jti=token_id,
        )
        body = msgspec.json.encode(claims)
        return jws.serialize_compact(kind.header, body, self._key, algorithms=[ALGORITHM])

    def verify(self, token: str, now: float, kind: TokenKind = ACCESS) -> Claims:
        """Return the claims of a token of this kind that we issued and whose time it is.

        Whether its session still stands is for the caller to ask the database.

        Raises:
            Unauthenticated: `token_invalid`, the same for every fault.
        """
        try:
            claims = self._believe(token, kind)
            claims.context()
        except (ValueError, JoseError, RecursionError) as fault:
            raise invalid_token() from fault
        if not _is_timely(claims, now, kind):
            raise invalid_token()
        return claims

    def _believe(self, token: str, kind: TokenKind) -> Claims:
        if len(token) > TOKEN_BYTES_MAX:
            raise ValueError("too long")
        header, body, _signature = (_decoded(part) for part in _three(token))
        if strict_json(header) != kind.header:
            raise ValueError("not our header")
        jws.deserialize_compact(token, self._key, algorithms=[ALGORITHM])
        claims = msgspec.convert(strict_json(body), Claims)
        if claims.iss != ISSUER or claims.aud != kind.audience or not claims.jti:
            raise ValueError("not for us")
        return claims


def invalid_token() -> Unauthenticated:
    """Return the answer to every token, ticket and refresh token that is not good."""
    return Unauthenticated("token_invalid", "Sign in again.")


def _three(token: str) -> list[str]:
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        raise ValueError("not three parts")
    return parts


def _decoded(part: str) -> bytes:
    """Decode base64url in its one canonical spelling, so that a token has no twin."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as fault:
        raise ValueError("not base64url") from fault
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("not canonical")
    return raw


def _is_timely(claims: Claims, now: float, kind: TokenKind) -> bool:
    lifetime = claims.exp - claims.iat
    return (
        0 < lifetime <= kind.ttl_seconds
        and claims.iat <= now + LEEWAY_SECONDS
        and now < claims.exp + kind.grace_seconds
    )
