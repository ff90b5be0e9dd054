"""When an agent turns in circles: the same call with the same result, steps that bring nothing new.

Pure: what was done goes in, a verdict comes out; an agent that runs again comes to the same one.
"""

import msgspec

from tidings.domain.errors import Failure
from tidings.domain.facts import ToolResult
from tidings.runs.outcomes import Fault, ToolOutcome

SAME_CALLS_MAX = 3
STALE_STEPS_MAX = 6


class _Seen(msgspec.Struct):
    """What a call gave the last time, and how often in a row it gave just that."""

    outcome: ToolOutcome
    times: int = 1


class Repetition:
    """What one agent has been told so far. Calls are known by the hash of tool and arguments."""

    def __init__(self) -> None:
        self._calls: dict[str, _Seen] = {}
        self._said: set[int] = set()
        self._stale = 0

    def refuses(self, call: str, before_it: int) -> Fault | None:
        """Return why a call is not made again: it gave the same SAME_CALLS_MAX times in a row.

        `before_it`: so many of the reply that it comes with are the same call.
        """
        seen = self._calls.get(call)
        if (seen.times if seen else 0) + before_it < SAME_CALLS_MAX:
            return None
        return Fault(
            "call_repeats",
            f"This call was made {SAME_CALLS_MAX} times and gave the same. Use what it gave, "
            "call something else, or come to an end.",
        )

    def called(self, call: str, outcome: ToolOutcome) -> None:
        """Take note of how a call ended; one that was refused as a repetition brought nothing."""
        seen = self._calls.get(call)
        if outcome.error is not None and outcome.error.code == "call_repeats":
            self._stale += 1
        elif seen is not None and _alike(seen.outcome, outcome):
            seen.times += 1
            self._stale += 1
        else:
            self._calls[call] = _Seen(outcome)
            self._stale = 0

    def answered(self, question: str, answer: str) -> None:
        """Take note of what a model said; one that only wants calls is judged by the calls."""
        said = hash((question, answer))
        self._stale = self._stale + 1 if said in self._said else 0
        self._said.add(said)

    def check(self) -> None:
        """Check that something new came of the last steps.

        Raises:
            Failure: `agent_looping`: STALE_STEPS_MAX in a row brought nothing that was not known.
        """
        if self._stale >= STALE_STEPS_MAX:
            raise Failure(
                "agent_looping",
                f"The agent took {self._stale} steps that brought nothing new, so it was ended.",
            )


def _alike(one: ToolOutcome, other: ToolOutcome) -> bool:
    """Return whether two calls gave the same, apart from ids and times."""
    if one.error != other.error or one.result is None or other.result is None:
        return one.error == other.error
    return _without_ids(one.result) == _without_ids(other.result)


def _without_ids(result: ToolResult) -> tuple[object, ...]:
    values = tuple((fact.label, fact.value, fact.unit) for fact in result.facts)
    return (result.summary, result.table, result.content, result.notes, values)
