"""The shape that values of others must have: a small part of JSON Schema, and bounds."""

from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}
ARGUMENTS_BYTES_MAX = 64 * 1024
"""The arguments of one call of a tool, written as JSON."""
WORDS = frozenset({"type", "enum", "properties", "required", "items", "title", "description"})


def check_schema(schema: dict[str, Any]) -> None:
    """Check that a schema uses no words but those that `misfit` knows.

    Raises:
        ValueError: it does, or names a type that is none.
    """
    if unknown := set(schema) - WORDS:
        words = f"{', '.join(sorted(unknown))}; known are {', '.join(sorted(WORDS))}"
        raise ValueError(f"not supported in the schema of an answer: {words}")
    if schema.get("type", "string") not in KINDS:
        raise ValueError(f"not a type: {schema['type']}")
    for inner in schema.get("properties", {}).values():
        check_schema(inner)
    if "items" in schema:
        check_schema(schema["items"])


def misfit(schema: dict[str, Any], value: Any, place: str = "The answer") -> str:
    """Return in a sentence what is wrong with a value; empty if it fits."""
    kind = schema.get("type")
    if kind is not None and not _is(kind, value):
        return f"{place} must be of type {kind}."
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} must be one of {', '.join(map(str, schema['enum']))}."
    if isinstance(value, dict):
        return _misfit_inside(schema, value, place)
    if isinstance(value, list):
        wrong = (
            misfit(schema.get("items", {}), item, f"{place}[{n}]") for n, item in enumerate(value)
        )
        return next(filter(None, wrong), "")
    return ""


def without_nulls(schema: dict[str, Any], value: Any) -> Any:
    """Return a value without the nulls of properties that may be absent: some write absence so."""
    if isinstance(value, list):
        return [without_nulls(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    shapes, required = schema.get("properties", {}), schema.get("required", ())
    return {
        name: without_nulls(shapes.get(name, {}), inner)
        for name, inner in value.items()
        if inner is not None or name in required or name not in shapes
    }


def _misfit_inside(schema: dict[str, Any], value: dict[str, Any], place: str) -> str:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{place} lacks `{name}`."
    for name, inner in schema.get("properties", {}).items():
        if name in value and (wrong := misfit(inner, value[name], f"{place}.{name}")):
            return wrong
    return ""


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])
