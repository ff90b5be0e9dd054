"""One delivery's life: claimed, tried, tried again, and in the end delivered or dead."""

import msgspec

from tidings.storage.warm.port import Transaction

CLAIM_SECONDS = 20.0
"""A claim ends by itself, so that a crash costs a wait and no delivery; longer than an attempt."""
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_EARLY_SECONDS_MAX = 60.0
EARLY_SECONDS = 600.0
BACKOFF_SECONDS_MAX = 600.0
GIVE_UP_SECONDS = 24 * 3600.0
JITTER = 0.2
GONE = 410
_DOUBLINGS = 16


class Delivery(msgspec.Struct, frozen=True):
    """A claimed delivery; `attempts` counts this one."""

    webhook_id: str
    event_id: str
    url: str
    secret: str
    body: bytes
    attempts: int
    created_at: float


class Answer(msgspec.Struct, frozen=True):
    """What came of an attempt: an HTTP status, or the code of an error."""

    status: int | None = None
    error: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own

    @property
    def is_final(self) -> bool:
        """Whether there is no use in another attempt: gone, or where the server must not go."""
        return self.status == GONE or self.error == "url_blocked"


def pause_after(attempts: int, age: float, chance: float) -> float:
    """Return the seconds to the next attempt.

    After `attempts` failures, `age` seconds after the delivery was made; `chance` is from 0 to 1.
    """
    longest = BACKOFF_EARLY_SECONDS_MAX if age < EARLY_SECONDS else BACKOFF_SECONDS_MAX
    pause = min(longest, BACKOFF_FIRST_SECONDS * 2.0 ** min(attempts - 1, _DOUBLINGS))
    return pause * (1 + JITTER * (2 * chance - 1))


def outcome(answer: Answer, attempts: int, age: float, chance: float) -> tuple[str, float]:
    """Return the state after an attempt and the seconds to wait.

    The state is `delivered`, `dead`, or `pending` with another attempt to come.
    """
    if answer.is_good:
        return "delivered", 0.0
    pause = pause_after(attempts, age, chance)
    if answer.is_final or age + pause > GIVE_UP_SECONDS:
        return "dead", 0.0
    return "pending", pause


async def claim(tx: Transaction, now: float, limit: int) -> list[Delivery]:
    """Take up to `limit` deliveries that are due, one of a webhook at a time, oldest first."""
    rows = await tx.execute(
        "update webhook_deliveries set attempts = attempts + 1, claimed_until = ?"
        " where state = 'pending' and next_attempt_at <= ? and claimed_until <= ?"
        " and (webhook_id, event_id) in (select webhook_id, event_id from"
        "  (select webhook_id, event_id, next_attempt_at, row_number() over"
        "   (partition by webhook_id order by next_attempt_at, event_id) as turn"
        "   from webhook_deliveries as due where state = 'pending' and next_attempt_at <= ?"
        "   and not exists (select 1 from webhook_deliveries as busy"
        "    where busy.webhook_id = due.webhook_id and busy.state = 'pending'"
        "    and busy.claimed_until > ?)) as ready"
        "  where turn = 1 order by next_attempt_at limit ?)"
        " returning webhook_id, event_id, body, attempts, created_at",
        now + CLAIM_SECONDS,
        now,
        now,
        now,
        now,
        limit,
    )
    found = []
    for webhook_id, event_id, body, attempts, created_at in rows:
        ((url, secret),) = await tx.execute(
            "select url, secret from webhooks where webhook_id = ?", webhook_id
        )
        found.append(
            Delivery(webhook_id, event_id, url, secret, body.encode(), attempts, created_at)
        )
    return found


async def settle(
    tx: Transaction, delivery: Delivery, answer: Answer, chance: float, now: float
) -> str | None:
    """Record what came of an attempt; return the delivery's state, None if it is not ours any more.

    A receiver that is gone (410) is not called again: its webhook is turned off.
    """
    state, pause = outcome(answer, delivery.attempts, now - delivery.created_at, chance)
    rows = await tx.execute(
        "update webhook_deliveries set state = ?, next_attempt_at = ?, claimed_until = 0,"
        " last_status = ?, last_error = ?"
        " where webhook_id = ? and event_id = ? and attempts = ? and state = 'pending'"
        " returning 1",
        state,
        now + pause,
        answer.status,
        answer.error,
        delivery.webhook_id,
        delivery.event_id,
        delivery.attempts,
    )
    if answer.status == GONE:
        await _turn_off(tx, delivery.webhook_id)
    return state if rows else None


async def _turn_off(tx: Transaction, webhook_id: str) -> None:
    await tx.execute("update webhooks set enabled = 0 where webhook_id = ?", webhook_id)
    await tx.execute(
        "update webhook_deliveries set state = 'dead', last_error = 'webhook_gone'"
        " where webhook_id = ? and state = 'pending'",
        webhook_id,
    )
