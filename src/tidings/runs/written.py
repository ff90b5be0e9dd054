"""Text of answers that was shown: what came to its end, and what was cut off by a fault."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from tidings.domain.events import Draft, Event, EventType
from tidings.domain.runs import Run
from tidings.storage.warm.port import Transaction

PARTIAL_CHARACTERS_MAX = 100_000

Pieces = list[tuple[str, str]]
"""The pieces of a run's answers in order: the message and the text of each."""


class Written(msgspec.Struct):
    """The messages that a run's model requests have shown, by id.

    `whole`: the request came to its end; `cut`: it did not. `now`: those of the one under way.
    """

    whole: set[str] = msgspec.field(default_factory=set)
    cut: set[str] = msgspec.field(default_factory=set)
    now: set[str] = msgspec.field(default_factory=set)

    @contextmanager
    def watched(self) -> Iterator[set[str]]:
        """Yield the messages that get text within the block; if it is left by a fault, cut off."""
        shown = self.now = set()
        try:
            yield shown
        except BaseException:
            self.ended(shown, well=False)
            raise
        finally:
            self.now = set()

    def ended(self, messages: Iterable[str], *, well: bool) -> None:
        """Take note how a request ended that wrote these messages, now or in an earlier attempt."""
        for message in messages:
            (self.whole if well else self.cut).add(message)
            (self.cut if well else self.whole).discard(message)


def partial_answer(pieces: Pieces) -> str | None:
    """Return what a run has shown of its newest answer; None: nothing."""
    newest = pieces[-1][0] if pieces else None
    return "".join(text for id_, text in pieces if id_ == newest)[:PARTIAL_CHARACTERS_MAX] or None


def incomplete(run: Run, pieces: Pieces, written: Written, *, answered: bool) -> list[str]:
    """Return the messages whose text was shown and is not whole, oldest first.

    What an earlier attempt has shown counts as whole only if the request that wrote it is on
    record. `answered`: the run ends with an answer; else the newest message is not whole either.
    """
    messages = list(dict.fromkeys(id_ for id_, _ in pieces))
    newest = messages[-1:]
    return [
        message
        for message in messages
        if message in written.cut
        or (not answered and message in newest)
        or (_attempt(message) != run.attempt and message not in written.whole)
    ]


async def pieces_of(
    tx: Transaction, run: Run, fresh: list[Draft], written: Written, *, answered: bool
) -> Pieces:
    """Return the pieces of a run's answers in order; none when nothing can be missing.

    `fresh` is what the run has told that is not in the log yet.
    """
    if answered and run.attempt == 1 and not written.cut:
        return []
    rows = await tx.execute(
        "select frame from events where run_id = ? and type = ? and length(frame) > 0"
        ' order by "offset"',
        run.run_id,
        EventType.ANSWER_DELTA,
    )
    payloads = [msgspec.json.decode(frame, type=Event).payload for (frame,) in rows]
    payloads += [draft.payload for draft in fresh if draft.type is EventType.ANSWER_DELTA]
    return [(payload["message_id"], payload["text"]) for payload in payloads]


def _attempt(message: str) -> int:
    """Return the attempt that wrote a message: the last part of its id."""
    return int(message.rpartition(".")[2])
