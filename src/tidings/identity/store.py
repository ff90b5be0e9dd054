"""Users, sessions and refresh tokens in the warm tier."""

from collections.abc import Iterable
from dataclasses import dataclass

from tidings.domain.context import UserContext
from tidings.storage.warm.port import Row, Transaction

_COLUMNS = "user_id, tenant_id, name, disabled, admin, created_at"

SESSIONS_PER_LOOK_MAX = 500
_LIVE = (
    "select tenant_id, users.user_id, session_id"
    " from sessions join users on users.user_id = sessions.user_id"
    " where session_id in ({marks}) and revoked = 0 and disabled = 0 and expires_at > ?"
)


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account. `created_at` is seconds since 1970 UTC."""

    user_id: str
    tenant_id: str
    name: str
    disabled: bool
    admin: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class RefreshRow:
    """A refresh token as recorded, with the session it renews."""

    context: UserContext
    spent: bool
    live: bool


async def insert_user(tx: Transaction, user: User, password_hash: str) -> bool:
    """Record the user; False when the name is taken."""
    rows = await tx.execute(
        "insert into users (user_id, tenant_id, name, password_hash, admin, created_at)"
        " values (?, ?, ?, ?, ?, ?) on conflict do nothing returning user_id",
        user.user_id,
        user.tenant_id,
        user.name,
        password_hash,
        int(user.admin),
        user.created_at,
    )
    return bool(rows)


async def list_users(tx: Transaction) -> list[User]:
    """Return every user, by name; not those that were deleted."""
    rows = await tx.execute(f"select {_COLUMNS} from users order by name")  # noqa: S608 - a constant
    users = [_user(row) for row in rows]
    return [user for user in users if user.name != tombstone(user.user_id)]


async def find_user(tx: Transaction, name: str) -> tuple[User, str] | None:
    """Return the user of that name with the stored password."""
    rows = await tx.execute(
        f"select {_COLUMNS}, password_hash from users where name = ?",  # noqa: S608 - a constant
        name,
    )
    return (_user(rows[0]), rows[0][-1]) if rows else None


async def set_admin(tx: Transaction, name: str, *, admin: bool) -> bool:
    """Have the user be an administrator, or no longer; False when there is no such user."""
    rows = await tx.execute(
        "update users set admin = ? where name = ? returning user_id", int(admin), name
    )
    return bool(rows)


async def is_admin(tx: Transaction, context: UserContext) -> bool:
    """Tell whether the user is an administrator now."""
    rows = await tx.execute(
        "select 1 from users where user_id = ? and tenant_id = ? and admin = 1 and disabled = 0",
        context.user_id,
        context.tenant_id,
    )
    return bool(rows)


async def disable_user(tx: Transaction, name: str) -> str | None:
    """Disable the user and revoke every session; return who it is, None when there is nobody."""
    rows = await tx.execute("update users set disabled = 1 where name = ? returning user_id", name)
    if not rows:
        return None
    user_id = str(rows[0][0])
    await tx.execute("update sessions set revoked = 1 where user_id = ?", user_id)
    await tx.execute(
        "delete from refresh_tokens where session_id in"
        " (select session_id from sessions where user_id = ?)",
        user_id,
    )
    return user_id


def tombstone(user_id: str) -> str:
    """Return the name of a user who was deleted: nobody can be given it."""
    return f":{user_id}"


async def bury(tx: Transaction, user_id: str) -> None:
    """Leave of a user the id alone: what comes late in the user's name is refused by it."""
    await tx.execute(
        "delete from refresh_tokens where session_id in"
        " (select session_id from sessions where user_id = ?)",
        user_id,
    )
    await tx.execute("delete from sessions where user_id = ?", user_id)
    await tx.execute(
        "update users set name = ?, password_hash = '', disabled = 1, admin = 0, created_at = 0"
        " where user_id = ?",
        tombstone(user_id),
        user_id,
    )


async def open_session(
    tx: Transaction, context: UserContext, created_at: float, expires_at: float
) -> None:
    """Record a login."""
    await tx.execute(
        "insert into sessions (session_id, user_id, created_at, expires_at) values (?, ?, ?, ?)",
        context.session_id,
        context.user_id,
        created_at,
        expires_at,
    )


async def live_sessions(
    tx: Transaction, contexts: Iterable[UserContext], now: float
) -> set[UserContext]:
    """Return those of the contexts whose session stands and whose user may act."""
    wanted = list(contexts)
    live: set[UserContext] = set()
    for start in range(0, len(wanted), SESSIONS_PER_LOOK_MAX):
        some = wanted[start : start + SESSIONS_PER_LOOK_MAX]
        rows = await tx.execute(
            _LIVE.format(marks=", ".join("?" * len(some))),
            *(context.session_id for context in some),
            now,
        )
        live.update(UserContext(*row) for row in rows)
    return live.intersection(wanted)


async def revoke_session(tx: Transaction, session_id: str) -> None:
    """End a login for good, and forget its refresh tokens."""
    await tx.execute("update sessions set revoked = 1 where session_id = ?", session_id)
    await tx.execute("delete from refresh_tokens where session_id = ?", session_id)


async def add_refresh(tx: Transaction, session_id: str, token_hash: str) -> None:
    """Record a fresh refresh token."""
    await tx.execute(
        "insert into refresh_tokens (token_hash, session_id) values (?, ?)", token_hash, session_id
    )


async def find_refresh(tx: Transaction, token_hash: str, now: float) -> RefreshRow | None:
    """Return the refresh token and the state of its session."""
    rows = await tx.execute(
        "select tenant_id, users.user_id, sessions.session_id, spent,"
        " revoked = 0 and disabled = 0 and expires_at > ?"
        " from refresh_tokens"
        " join sessions on sessions.session_id = refresh_tokens.session_id"
        " join users on users.user_id = sessions.user_id"
        " where token_hash = ?",
        now,
        token_hash,
    )
    if not rows:
        return None
    tenant_id, user_id, session_id, spent, live = rows[0]
    return RefreshRow(UserContext(tenant_id, user_id, session_id), bool(spent), bool(live))


async def spend_refresh(tx: Transaction, token_hash: str) -> bool:
    """Mark the token as exchanged for its successor; False when somebody was faster."""
    rows = await tx.execute(
        "update refresh_tokens set spent = 1 where token_hash = ? and spent = 0 returning 1",
        token_hash,
    )
    return bool(rows)


def _user(row: Row) -> User:
    user_id, tenant_id, name, disabled, admin, created_at = row[:6]
    return User(user_id, tenant_id, name, bool(disabled), bool(admin), created_at)
