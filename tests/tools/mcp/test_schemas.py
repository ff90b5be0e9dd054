"""Schemas of strangers: what they refer to is not fetched, and none keeps the server busy."""

from typing import Any

import pytest
from pydantic import ValidationError

from tidings.tools.mcp.schemas import arguments_model, check_schema


def problem(schema: dict[str, Any], values: dict[str, Any]) -> str:
    check_schema(schema)
    with pytest.raises(ValidationError) as refused:
        arguments_model("t", schema).model_validate(values)
    return str(refused.value)


def test_what_fits_is_taken_as_it_is() -> None:
    schema = {"type": "object", "properties": {"copy": {"type": "number"}, "model_config": {}}}
    values = {"copy": 1.5, "model_config": [1], "schema": {"a": None}}
    taken = arguments_model("t", schema).model_validate(values)
    assert taken.model_extra == values
    assert type(taken).model_json_schema() is schema


@pytest.mark.parametrize(
    "schema", [{}, {"type": "string"}, {"type": ["object"]}, {"type": "object", "required": 1}]
)
def test_a_schema_is_one_of_an_object(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it is"):
        check_schema(schema)


@pytest.mark.parametrize(
    "reference", ["http://127.0.0.1:1/schema", "file:///etc/passwd", "#/$defs/missing", "other"]
)
def test_what_stands_elsewhere_is_not_fetched(reference: str) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
    assert "cannot be evaluated" in problem(schema, {"a": 1})


def test_references_that_multiply_or_never_end_are_cut_off() -> None:
    levels = {
        f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}, {"$ref": f"#/$defs/l{n + 1}"}]}
        for n in range(40)
    }
    laughs = {"type": "object", "$defs": levels | {"l40": {}}, "$ref": "#/$defs/l0"}
    assert "cannot be evaluated" in problem(laughs, {})
    endless = {"type": "object", "$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    assert "cannot be evaluated" in problem(endless, {})


def test_a_regular_expression_that_never_ends_is_left_to_the_server() -> None:
    slow = {"type": "string", "pattern": "^(a+)+$", "maxLength": 100}
    schema = {
        "type": "object",
        "properties": {"a": slow},
        "patternProperties": {"^(a+)+$": {"type": "number"}},
    }
    check_schema(schema)
    taken = arguments_model("t", schema).model_validate({"a": "a" * 60 + "!", "a" * 60 + "!": "x"})
    assert taken.model_extra is not None
