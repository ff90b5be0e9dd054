"""The intake: what is taken on while the server has much to do, and which agent gets it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from tidings.domain.commands import AnswerInput, Approve, Command, StartAgent, StopAgent
from tidings.domain.context import UserContext
from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.health.metrics import Metrics
from tidings.resilience.priority import Priority
from tidings.resilience.shedding import Bound, Load, SheddingRules, exceeded, retry_seconds
from tidings.router.lookout import Lookout


class Agents(Protocol):
    """The agents there are."""

    def alternatives(self, name: str) -> tuple[str, ...]:
        """Return an agent's name and, behind it, those that may stand in for it.

        Raises:
            InvalidInput: `unknown_agent`.
        """
        ...


class ChosenAgent(NamedTuple):
    """An agent for a run, and the code of the notice that says why it is this one, or nothing."""

    agent: str
    notice: str = ""


class Intake:
    """Keeps the server from taking on more than it can do; says no early, and when to come again.

    What makes the load less is never refused. `room` tells how many runs are worked on at once by
    all who live, `lag_seconds` how late the event loop is, `chance` is drawn evenly from 0..1.
    """

    def __init__(
        self,
        lookout: Lookout,
        agents: Agents,
        rules: SheddingRules,
        room: Callable[[], int],
        lag_seconds: Callable[[], float],
        chance: Callable[[], float],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._lookout = lookout
        self._agents = agents
        self._rules = rules
        self._room = room
        self._lag_seconds = lag_seconds
        self._chance = chance
        self._metrics = metrics
        self._clock = clock
        self.shed = 0

    @property
    def room(self) -> int:
        """How many runs are worked on at once; 0: nobody is there to work."""
        return self._room()

    @property
    def load(self) -> Load:
        """What there is to do now."""
        lookout = self._lookout
        return Load(lookout.ready, lookout.wait_seconds, self._lag_seconds(), self.room)

    def overload(self, priority: Priority = Priority.INTERACTIVE) -> Bound:
        """Return which bound keeps work of this priority out, if one does."""
        return exceeded(self.load, self._rules, priority)

    def admit(self, context: UserContext, command: Command) -> None:
        """Let a command in.

        Raises:
            Unavailable: `overloaded`, or `no_worker` where nobody is there to work and the queue
                has waited for too long; with the time after which to ask again.
        """
        priority = self._priority(context, command)
        bound = self.overload(priority)
        if bound is Bound.NONE:
            return
        self.shed += 1
        self._metrics.shed.labels(priority.name.lower(), bound).inc()
        wait = retry_seconds(self.load, self._rules, self._chance())
        if not self.room:
            raise Unavailable(
                "no_worker",
                f"Nobody is there to work on this; try again in {wait:.0f} s.",
                retry_after_seconds=wait,
            )
        raise Unavailable(
            "overloaded",
            f"More is asked of this server than it can do; try again in {wait:.0f} s.",
            retry_after_seconds=wait,
        )

    def taken(self) -> None:
        """Count a run that was taken on."""
        self._lookout.taken()

    def choose(self, name: str) -> ChosenAgent:
        """Return the agent of that name, or one that may stand in for it if that one does better.

        Raises:
            InvalidInput: `unknown_agent`.
        """
        for agent in self._agents.alternatives(name):
            if self._lookout.is_well(agent):
                return ChosenAgent(agent, "" if agent == name else "agent_stands_in")
        return ChosenAgent(name, "agent_unwell")

    def _priority(self, context: UserContext, command: Command) -> Priority:
        if isinstance(command, StopAgent | AnswerInput | Approve):
            return Priority.CANCEL
        if isinstance(command, StartAgent) and command.payload.background:
            return Priority.BACKGROUND
        # It would wait for its user's own runs anyway.
        if context.user_id in self._lookout.backlog.crowding:
            return Priority.BACKGROUND
        return Priority.INTERACTIVE
