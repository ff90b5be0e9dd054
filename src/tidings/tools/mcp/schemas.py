"""Arguments as a tool server describes them, checked here before it sees them."""

from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic import BaseModel, ConfigDict, model_validator
from referencing import Registry
from referencing.exceptions import Unresolvable

REFERENCES_MAX = 1_000
PROBLEM_CHARACTERS_MAX = 200


def check_schema(schema: dict[str, Any]) -> None:
    """Check that a schema is one, of an object.

    Raises:
        ValueError: it is not.
    """
    if schema.get("type") != "object":
        raise ValueError("it is not that of an object")
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        raise ValueError("it is no JSON Schema") from error


def arguments_model(name: str, schema: dict[str, Any]) -> type[BaseModel]:
    """Return a model that takes what a checked schema allows, and nothing else.

    What the schema refers to must stand in it: nothing is fetched. Its regular expressions are left
    to the server, for they could keep this one busy; REFERENCES_MAX bounds the rest.
    """

    class ServedArguments(BaseModel):
        model_config = ConfigDict(extra="allow", title=name)

        @model_validator(mode="before")
        @classmethod
        def fits(cls, values: Any) -> Any:
            if problem := _problem(schema, values):
                raise ValueError(problem)
            return values

        @classmethod
        def model_json_schema(cls, *_args: Any, **_options: Any) -> dict[str, Any]:
            return schema

    return ServedArguments


class _TooManyReferences(ValueError):
    """Evaluating the schema leads from one reference to the next."""


class _References:
    """Counts the references of one evaluation."""

    def __init__(self) -> None:
        self._left = REFERENCES_MAX

    def follow(
        self, validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        self._left -= 1
        if self._left < 0:
            raise _TooManyReferences
        yield from Draft202012Validator.VALIDATORS["$ref"](validator, value, instance, schema)

    def follow_dynamic(
        self, validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        self._left -= 1
        if self._left < 0:
            raise _TooManyReferences
        yield from Draft202012Validator.VALIDATORS["$dynamicRef"](
            validator, value, instance, schema
        )

    def validator(self, schema: dict[str, Any]) -> Validator:
        rules = {
            "$ref": self.follow,
            "$dynamicRef": self.follow_dynamic,
            "pattern": _left_to_the_server,
            "patternProperties": _left_to_the_server,
        }
        kind: Callable[..., Validator] = extend(Draft202012Validator, rules)  # type: ignore[no-untyped-call]
        return kind(schema, registry=Registry())


def _left_to_the_server(*_: Any) -> None:
    """Say nothing against it."""


def _problem(schema: dict[str, Any], values: Any) -> str:
    """Return what is wrong with arguments, or nothing."""
    try:
        for error in _References().validator(schema).iter_errors(values):
            path = ".".join(str(part) for part in error.absolute_path)
            problem = f"{path}: {error.message}" if path else error.message
            return problem[:PROBLEM_CHARACTERS_MAX]
    except (Unresolvable, _TooManyReferences, RecursionError):
        return "The tool's schema cannot be evaluated."
    return ""
