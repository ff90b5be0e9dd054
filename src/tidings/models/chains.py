"""All chains of a server: one layer of policy for its own models and for those agents bring."""

from collections import OrderedDict
from collections.abc import Callable

from tidings.domain.ports import Clock
from tidings.models.chain import CHAIN_RULES, Chain, ChainRules, LinkHealth, Watch
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
        rules: ChainRules = CHAIN_RULES,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._watch = watch
        self._rules = rules
        self._brought: OrderedDict[tuple[Model, ...], Chain] = OrderedDict()

    def made(self, models: tuple[Model, ...]) -> Chain:
        """Return a new chain of these models."""
        return Chain(models, self._clock, self._chance, self._watch, self._rules)

    def brought(self, models: tuple[Model, ...]) -> Chain:
        """Return the chain of models that an agent brings along; for the same ones, the same.

        Their connections are their owner's: nothing here closes them.
        """
        chain = self._brought.pop(models, None) or self.made(models)
        self._brought[models] = chain
        if len(self._brought) > CHAINS_BROUGHT_MAX:
            self._brought.popitem(last=False)
        return chain

    def health(self) -> tuple[LinkHealth, ...]:
        """Return how the models are that agents have brought, in the order of their last use."""
        return tuple(link for chain in self._brought.values() for link in chain.health())
