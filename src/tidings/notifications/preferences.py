"""What a user wants to hear of, and where."""

import msgspec

from tidings.domain.events import NOTIFIED
from tidings.storage.warm.port import Transaction

KINDS = tuple(sorted(kind.value for kind in NOTIFIED))


class Preferences(msgspec.Struct, frozen=True):
    """The kinds of events that go to the inbox, and those that go to the webhooks."""

    inbox: tuple[str, ...] = KINDS
    webhooks: tuple[str, ...] = KINDS


async def read(tx: Transaction, user_id: str) -> Preferences:
    """Return what the user chose; everything, if nothing."""
    rows = await tx.execute("select body from preferences where user_id = ?", user_id)
    return msgspec.json.decode(rows[0][0], type=Preferences) if rows else Preferences()


async def write(tx: Transaction, user_id: str, chosen: Preferences) -> None:
    """Keep what the user chose."""
    await tx.execute(
        "insert into preferences (user_id, body) values (?, ?)"
        " on conflict (user_id) do update set body = excluded.body",
        user_id,
        msgspec.json.encode(chosen).decode(),
    )
