"""What becomes of the calls of a reply: decided before any begins, whatever the model says."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
from pydantic import BaseModel

from tidings.domain.errors import TidingsError
from tidings.domain.permissions import Permission, call_hash, decide
from tidings.models.replies import CALLS_PER_REPLY_MAX
from tidings.runs.journal import Journal
from tidings.runs.outcomes import Fault, arguments_shown
from tidings.runs.pauses import Settled
from tidings.runs.repetition import Repetition
from tidings.runs.work import Work
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import Tool

PURPOSE_CHARACTERS_MAX = 200
TOOL_NAME_CHARACTERS_MAX = 100
UNKNOWN = Fault("outcome_unknown", "It was under way when the server stopped.")
DENIED = Fault("tool_denied", "You do not let this tool be used.")
TOO_MANY = Fault(
    "too_many_calls", f"More than {CALLS_PER_REPLY_MAX} calls at once; make this one later."
)


class ToolRequest(msgspec.Struct, frozen=True):
    """What an agent wants done, by a tool of the catalogue or one that it brings along."""

    what: str | Tool
    arguments: dict[str, Any]
    purpose: str


class Call(msgspec.Struct, frozen=True, dict=True):
    """A request, with the id that its place among the calls of the run gives it."""

    call_id: str
    what: str | Tool
    arguments: dict[str, Any]
    purpose: str

    @classmethod
    def of(cls, call_id: str, request: ToolRequest) -> "Call":
        """Return the call of a request; what nobody would read to its end is cut."""
        what = request.what
        what = what[:TOOL_NAME_CHARACTERS_MAX] if isinstance(what, str) else what
        return cls(call_id, what, request.arguments, request.purpose[:PURPOSE_CHARACTERS_MAX])

    @property
    def tool(self) -> str:
        """The name of the tool."""
        return self.what if isinstance(self.what, str) else self.what.name

    @cached_property
    def hash(self) -> str:
        """What leave for the call is bound to."""
        return call_hash(self.tool, arguments_shown(self.arguments))

    @property
    def leave_step(self) -> str:
        """The journal's step that has what a person said."""
        return f"{self.call_id}.leave.{self.hash[:16]}"


class Ruling(msgspec.Struct, frozen=True):
    """A call, and the tool and arguments that it is `made` with, or why it is `refused`.

    `asks`: somebody has to say so first. `begins`: it was not begun before.
    """

    call: Call
    made: tuple[Tool, BaseModel] | None = None
    refused: Fault | None = None
    asks: bool = False
    begins: bool = False

    def settled(self, settled: Settled) -> "Ruling":
        """Return the ruling after a person's word, or when none has come in time."""
        if settled.outcome == "allowed":
            return msgspec.structs.replace(self, asks=False)
        refused = _NOT_ALLOWED["expired" if settled.outcome == "expired" else "denied"]
        return Ruling(self.call, refused=refused)


_NOT_ALLOWED = {
    "expired": Fault("approval_expired", "Nobody gave leave for this call in time."),
    "denied": Fault("approval_denied", "Leave for this call was refused."),
}


class Rulings:
    """Decides for one agent of a run, by what the run has seen so far."""

    def __init__(
        self, catalogue: Catalogue, journal: Journal, work: Work, repetition: Repetition
    ) -> None:
        self._catalogue = catalogue
        self._journal = journal
        self._work = work
        self._repetition = repetition

    def decide(self, calls: Sequence[Call]) -> list[Ruling]:
        """Return what becomes of the calls of one reply, in its order."""
        before: Counter[str] = Counter()
        return [self._ruling(call, place, before) for place, call in enumerate(calls)]

    def _ruling(self, call: Call, place: int, before: Counter[str]) -> Ruling:
        if self._journal.is_done(call.call_id):
            return Ruling(call)
        if place >= CALLS_PER_REPLY_MAX:
            return Ruling(call, refused=TOO_MANY)
        begun = self._journal.is_begun(call.call_id)
        if begun and not self._catalogue.repeatable(call.what):
            return Ruling(call, refused=UNKNOWN)
        try:
            made = self._catalogue.check(call.what, call.arguments)
        except TidingsError as error:
            return Ruling(call, refused=Fault(error.code, error.message, error.retryable))
        if begun:
            return Ruling(call, made)
        if fault := self._repetition.refuses(call.hash, before[call.hash]):
            return Ruling(call, refused=fault)
        before[call.hash] += 1
        return self._permitted(Ruling(call, made, begins=True), made[0])

    def _permitted(self, ruling: Ruling, tool: Tool) -> Ruling:
        """Return the ruling as the user's word, what the run has seen, and leave let it be."""
        step = ruling.call.leave_step
        if self._journal.is_done(step):
            return ruling.settled(self._journal.recorded(step, Settled))
        told = self._journal.permissions.get(tool.name)
        match decide(tool.effect, told, tainted=self._work.tainted):
            case Permission.DENY:
                return Ruling(ruling.call, refused=DENIED)
            case Permission.ASK:
                return msgspec.structs.replace(ruling, asks=True)
            case _:
                return ruling
