"""Identity: who is acting, from password, token or ticket; and the end of it."""

import re
from dataclasses import dataclass

from tidings.domain.context import SERVER, UserContext
from tidings.domain.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from tidings.domain.ports import Clock, IdSource
from tidings.identity import store
from tidings.identity.attempts import LoginAttempts
from tidings.identity.elsewhere import SessionsEnded
from tidings.identity.keys import fingerprint, new_secret
from tidings.identity.passwords import Passwords
from tidings.identity.store import User
from tidings.identity.tokens import (
    ACCESS_TTL_SECONDS,
    LEEWAY_SECONDS,
    TICKET,
    Tokens,
    invalid_token,
)
from tidings.storage.hot.port import Once, Rates
from tidings.storage.warm.port import Database, Transaction

SESSION_TTL_SECONDS = 30 * 24 * 3600
TENANT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+\-]{0,63}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client holds after signing in."""

    access_token: str
    expires_in: int
    refresh_token: str


class Identity:
    """Turns credentials into a `UserContext`, and nothing else does."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        passwords: Passwords,
        tickets: Once,
        rates: Rates,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._passwords = passwords
        self._tickets = tickets
        self._clock = clock
        self._ids = ids
        self._attempts = LoginAttempts(rates)

    async def login(self, username: str, password: str, *, peer: str) -> Credentials:
        """Open a session; `peer` is the network address that asks.

        Raises:
            Unauthenticated: `credentials_wrong`, the same for a wrong password, an unknown and a
                disabled user.
            LimitExceeded: `too_many_attempts`.
        """
        async with self._attempts.one(username, peer):
            found = await self._database.read(SERVER, lambda tx: _find(tx, username))
            user, stored = found or (None, None)
            same = await self._passwords.matches(stored, password)
            if user is None or not same or user.disabled:
                raise Unauthenticated("credentials_wrong", "The name or the password is wrong.")
        return await self._open_session(user)

    async def refresh(self, refresh_token: str) -> Credentials:
        """Exchange a refresh token for fresh credentials, once.

        Raises:
            Unauthenticated: `token_invalid`; when the token was used before, whoever holds its
                successor is signed out as well.
        """
        old, successor = fingerprint(refresh_token), new_secret()
        now = self._clock.now()

        async def work(tx: Transaction) -> UserContext | None:
            row = await store.find_refresh(tx, old, now)
            if row is None:
                return None
            if row.spent or not row.live or not await store.spend_refresh(tx, old):
                await store.revoke_session(tx, row.context.session_id)
                tx.announce(SessionsEnded(row.context.user_id))
                return None
            await store.add_refresh(tx, row.context.session_id, fingerprint(successor))
            return row.context

        context = await self._database.write(SERVER, work)
        if context is None:
            raise invalid_token()
        access_token = self._tokens.issue(context, self._ids.new("jti"), now)
        return Credentials(access_token, ACCESS_TTL_SECONDS, successor)

    async def logout(self, context: UserContext) -> None:
        """End the session: its tokens and open sockets are worth nothing from now on."""

        async def work(tx: Transaction) -> None:
            await store.revoke_session(tx, context.session_id)
            tx.announce(SessionsEnded(context.user_id))

        await self._database.write(context, work)

    async def authenticate(self, token: str) -> UserContext:
        """Return who an access token speaks for.

        Raises:
            Unauthenticated: `token_invalid`, or `session_revoked` after logout or disabling.
        """
        context = self._tokens.verify(token, self._clock.now()).context()
        await self.check(context)
        return context

    def expires_at(self, token: str) -> float:
        """Return when an access token ends, in seconds since 1970 UTC."""
        return float(self._tokens.verify(token, self._clock.now()).exp)

    async def check(self, context: UserContext) -> None:
        """Return if the session still stands; one indexed read, cheap enough for every message.

        Raises:
            Unauthenticated: `session_revoked`.
        """
        if await self.ended({context}):
            raise Unauthenticated("session_revoked", "Your session has ended. Sign in again.")

    async def ended(self, contexts: set[UserContext]) -> set[UserContext]:
        """Return those whose session has ended, by logout, disabling or age."""
        now = self._clock.now()

        async def work(tx: Transaction) -> set[UserContext]:
            return contexts - await store.live_sessions(tx, contexts, now)

        return await self._database.read(SERVER, work)

    def ticket(self, context: UserContext) -> str:
        """Return a secret that opens one connection within `TICKET_TTL_SECONDS`."""
        return self._tokens.issue(context, new_secret(), self._clock.now(), TICKET)

    async def redeem(self, ticket: str) -> UserContext:
        """Return who the ticket was made for; it is worth nothing afterwards.

        Raises:
            Unauthenticated: `token_invalid`, or `session_revoked`.
            Unavailable: `tickets_full`.
        """
        claims = self._tokens.verify(ticket, self._clock.now(), TICKET)
        kept = TICKET.ttl_seconds + LEEWAY_SECONDS
        if not await self._tickets.first(claims.jti, kept):
            raise invalid_token()
        context = claims.context()
        await self.check(context)
        return context

    async def add_user(self, name: str, password: str, *, admin: bool = False) -> User:
        """Create a user who may sign in at once.

        Raises:
            InvalidInput: `name_unfit` or `password_unfit`.
            Conflict: `name_taken`.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "name_unfit", "A name has 1 to 64 letters, digits and . _ @ + - after the first."
            )
        stored = await self._passwords.hash(password)
        user_id, now = self._ids.new("u"), self._clock.now()
        user = User(user_id, TENANT, name, disabled=False, admin=admin, created_at=now)

        async def work(tx: Transaction) -> bool:
            return await store.insert_user(tx, user, stored)

        if not await self._database.write(SERVER, work):
            raise Conflict("name_taken", f"There is a user named {name} already.")
        return user

    async def list_users(self) -> list[User]:
        """Return every user, by name."""
        return await self._database.read(SERVER, store.list_users)

    async def appoint(self, name: str, *, admin: bool) -> None:
        """Make a user an administrator, or one no longer: from their next request on.

        Raises:
            NotFound: no such user.
        """

        async def work(tx: Transaction) -> bool:
            return await store.set_admin(tx, name, admin=admin)

        if not await self._database.write(SERVER, work):
            raise NotFound(f"There is no user named {name}.")

    async def is_admin(self, context: UserContext) -> bool:
        """Tell whether the user is an administrator now; tokens do not say."""
        return await self._database.read(context, lambda tx: store.is_admin(tx, context))

    async def disable_user(self, name: str) -> None:
        """Shut a user out, at once and everywhere.

        Raises:
            NotFound: no such user.
        """

        async def work(tx: Transaction) -> bool:
            if (user_id := await store.disable_user(tx, name)) is not None:
                tx.announce(SessionsEnded(user_id))
            return user_id is not None

        if not await self._database.write(SERVER, work):
            raise NotFound(f"There is no user named {name}.")

    async def issue_token(self, name: str) -> str:
        """Return an access token of a new session, for the operator who runs this machine.

        Raises:
            NotFound: no such user, or disabled.
        """
        found = await self._database.read(SERVER, lambda tx: _find(tx, name))
        if found is None or found[0].disabled:
            raise NotFound(f"There is no active user named {name}.")
        return (await self._open_session(found[0])).access_token

    async def _open_session(self, user: User) -> Credentials:
        context = UserContext(user.tenant_id, user.user_id, self._ids.new("ses"))
        refresh_token, now = new_secret(), self._clock.now()

        async def work(tx: Transaction) -> None:
            await store.open_session(tx, context, now, now + SESSION_TTL_SECONDS)
            await store.add_refresh(tx, context.session_id, fingerprint(refresh_token))

        await self._database.write(context, work)
        access_token = self._tokens.issue(context, self._ids.new("jti"), now)
        return Credentials(access_token, ACCESS_TTL_SECONDS, refresh_token)


async def _find(tx: Transaction, name: str) -> tuple[User, str] | None:
    return await store.find_user(tx, name) if _NAME.fullmatch(name) else None
