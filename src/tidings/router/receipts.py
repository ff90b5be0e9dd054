"""Receipts: what a command does is done once, however often the command comes."""

import hashlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import msgspec

from tidings.domain.commands import Command, Receipt, canonical
from tidings.domain.context import UserContext
from tidings.domain.errors import Conflict, Unauthenticated
from tidings.storage.warm.objects import take_turn
from tidings.storage.warm.port import Transaction

Seen = TypeVar("Seen")


class Done(NamedTuple):
    """Which run a command was about, and where it stands in the thread's stream.

    `remaining` is written together with the receipt.
    """

    run_id: str
    thread_id: str
    offset: int
    remaining: tuple[Coroutine[Any, Any, Any], ...] = ()


class Action(Protocol[Seen]):
    """What a command does, in the user's turn and in the transaction that keeps its receipt."""

    async def look(self, tx: Transaction) -> Seen:
        """Read what is needed to act; for a command that was here before it is for nothing."""
        ...

    async def act(self, tx: Transaction, seen: Seen, /) -> Done:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """What is kept of a command: whose it is, its id, the digest of its content, its receipt."""

    context: UserContext
    command_id: str
    digest: str
    now: float

    @classmethod
    def of(cls, context: UserContext, command: Command, now: float) -> Self:
        """Return the record of a command that came now."""
        digest = hashlib.sha256(msgspec.json.encode(canonical(command))).hexdigest()
        return cls(context, command.id, digest, now)

    async def find(self, tx: Transaction) -> Receipt | None:
        """Return the receipt of a command that was here before, in the user's turn.

        Raises:
            Unauthenticated: `session_revoked`: the user was shut out, however late the command
                came.
            Conflict: `idempotency_conflict`: the id was used for another command.
        """
        ((body_hash, receipt, disabled),) = await tx.execute(
            "select c.body_hash, c.receipt, u.disabled from (select 1 as one) as here"
            " left join users u on u.user_id = ?"
            " left join commands c on c.user_id = ? and c.command_id = ?",
            self.context.user_id,
            self.context.user_id,
            self.command_id,
        )
        if disabled:
            raise Unauthenticated("session_revoked", "Your session has ended. Sign in again.")
        if body_hash is None:
            return None
        if body_hash != self.digest:
            raise Conflict("idempotency_conflict", "This id was used for another command.")
        return msgspec.structs.replace(msgspec.json.decode(receipt, type=Receipt), duplicate=True)

    async def keep(self, tx: Transaction, receipt: Receipt) -> None:
        """Keep the receipt for when the command comes again."""
        await tx.execute(
            "insert into commands (user_id, command_id, body_hash, receipt, created_at)"
            " values (?, ?, ?, ?, ?)",
            self.context.user_id,
            self.command_id,
            self.digest,
            msgspec.json.encode(receipt).decode(),
            self.now,
        )


async def once(tx: Transaction, record: CommandRecord, action: Action[Seen]) -> Receipt:
    """Return the receipt that is kept of a command, or act and keep one.

    Raises:
        Unauthenticated, Conflict: as `CommandRecord.find`, and what the action raises.
    """
    await take_turn(tx, record.context)
    known, seen = await tx.together(record.find(tx), action.look(tx))
    if isinstance(known, Receipt):
        return known
    done = await action.act(tx, seen)
    receipt = Receipt(record.command_id, done.run_id, done.thread_id, done.offset)
    await tx.together(*done.remaining, record.keep(tx, receipt))
    return receipt
