"""The catalogue: nothing is called that does not exist, or with arguments that are wrong."""

from typing import Any

import pytest

from tidings.domain.errors import InvalidInput
from tidings.domain.facts import ToolResult
from tidings.domain.permissions import Effect
from tidings.tools.catalogue import Catalogue
from tidings.tools.port import ToolContext, tool


@tool(effect=Effect.READ)
async def add(ctx: ToolContext, left: int, right: int = 1) -> ToolResult:
    """Add two numbers."""
    return ToolResult(f"{left + right}")


@tool()
async def send_mail(ctx: ToolContext, to: str) -> ToolResult:
    """Send a mail."""
    return ToolResult(to)


CATALOGUE = Catalogue([add, send_mail])


def refusal(name: str, arguments: dict[str, Any]) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        CATALOGUE.check(name, arguments)
    return refused.value


def test_an_unknown_tool_is_refused_by_naming_those_there_are() -> None:
    error = refusal("send_male", {})
    assert error.code == "unknown_tool"
    assert "Did you mean send_mail?" in error.message
    assert "add, send_mail" in error.message


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "left"),
        ({"left": "1"}, "left"),
        ({"left": 1.5}, "left"),
        ({"left": None}, "left"),
        ({"left": 1, "right": True}, "right"),
        ({"left": 1, "extra": 1}, "extra"),
    ],
)
def test_wrong_arguments_are_refused_by_naming_the_field(
    arguments: dict[str, Any], named: str
) -> None:
    error = refusal("add", arguments)
    assert error.code == "invalid_arguments"
    assert named in error.message
    assert len(error.message) < 1000


def test_arguments_beyond_all_measure_are_refused_unread() -> None:
    error = refusal("add", {"left": "x" * (1 << 20)})
    assert error.code == "arguments_too_large"
    assert len(error.message) < 1000


def test_right_arguments_come_back_as_values_with_their_defaults() -> None:
    found, values = CATALOGUE.check("add", {"left": 2})
    assert found is add
    assert values.model_dump() == {"left": 2, "right": 1}


def test_models_are_told_name_description_and_schema() -> None:
    [(name, description, schema), _] = CATALOGUE.specs()
    assert (name, description) == ("add", "Add two numbers.")
    assert schema["required"] == ["left"]
    assert schema["additionalProperties"] is False


def test_only_a_tool_that_says_so_may_be_repeated() -> None:
    assert CATALOGUE.repeatable("add")
    assert not CATALOGUE.repeatable("send_mail")
    assert CATALOGUE.repeatable("never_existed")


def test_two_tools_of_one_name_are_a_mistake_at_start() -> None:
    with pytest.raises(ValueError, match="add"):
        Catalogue([add, add])
