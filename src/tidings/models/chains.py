"""All chains of a server: one layer of policy for its own models and for those agents bring."""

from collections import OrderedDict
from collections.abc import Callable

from tidings.domain.ports import Clock
from tidings.models.chain import Chain, ChainRules, LinkHealth, Watch
from tidings.models.port import Model

CHAINS_BROUGHT_MAX = 256
"""So many chains of brought models are remembered; what the oldest had learned is forgotten."""


class Chains:
    """Makes chains by the same rules, with the same clock."""

    def __init__(
        self,
        clock: Clock,
        chance: Callable[[], float],
        watch: Watch,
        rules: ChainRules,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._watch = watch
        self._rules = rules
        self._made: list[Chain] = []
        self._brought: OrderedDict[tuple[Model, ...], Chain] = OrderedDict()

    def made(self, models: tuple[Model, ...]) -> Chain:
        """Return a new chain of these models, the server's own for as long as it runs."""
        chain = self._new(models)
        self._made.append(chain)
        return chain

    def brought(self, models: tuple[Model, ...]) -> Chain:
        """Return the chain of models that an agent brings along; for the same ones, the same.

        Their connections are their owner's: nothing here closes them.
        """
        chain = self._brought.pop(models, None) or self._new(models)
        self._brought[models] = chain
        if len(self._brought) > CHAINS_BROUGHT_MAX:
            self._brought.popitem(last=False)
        return chain

    def health(self) -> tuple[LinkHealth, ...]:
        """Return how the models of every chain are: the server's own first, as they were made.

        Then those that agents have brought, in the order of their last use.
        """
        chains = (*self._made, *self._brought.values())
        return tuple(link for chain in chains for link in chain.health())

    def _new(self, models: tuple[Model, ...]) -> Chain:
        return Chain(models, self._clock, self._chance, self._watch, self._rules)
