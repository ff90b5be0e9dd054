"""JSON that everyone reads the same way: no key twice in an object, no NaN, no Infinity."""

import json
from typing import Any


def strict_json(raw: bytes) -> Any:
    """Return the value.

    Raises:
        ValueError: it is not JSON, or some would read it otherwise.
        RecursionError: it is too deep to be read.
    """
    return json.loads(raw, object_pairs_hook=_without_duplicates, parse_constant=_refuse)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
