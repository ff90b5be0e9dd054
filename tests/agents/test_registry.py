"""Agents are found by name."""

import pytest

from tidings.agents.registry import AgentRegistry
from tidings.domain.errors import InvalidInput
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext


async def silent(_ctx: RunContext) -> Outcome:
    return Outcome("")


async def loud(_ctx: RunContext) -> Outcome:
    return Outcome("!")


def known() -> AgentRegistry:
    agents = AgentRegistry()
    agents.register("greeter", "Greets.", silent)
    agents.register("analysis", "Analyses.", silent)
    return agents


def test_an_agent_is_found_by_its_name() -> None:
    assert known()["greeter"] is silent
    assert known().names() == ("analysis", "greeter")
    assert known().entries()[1].description == "Greets."


def test_an_unknown_agent_is_refused_with_those_known_and_the_nearest() -> None:
    with pytest.raises(
        InvalidInput, match=r"Known: analysis, greeter\. Did you mean greeter"
    ) as no:
        known()["greetr"]
    assert no.value.code == "unknown_agent"


def test_get_says_no_as_well_instead_of_giving_nothing() -> None:
    with pytest.raises(InvalidInput):
        known().get("nobody")


def test_a_later_agent_takes_the_place_of_an_earlier_one() -> None:
    agents = known()
    agents.register("greeter", "Shouts.", loud)
    assert agents["greeter"] is loud
    assert len(agents) == 2
