"""The conformance vectors as data, with their shorthand written out; see README.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
EVENT_ID_DIGITS = 20
ANY, ABSENT, SAME = "$any", "$absent", "$same"
MISSING = object()


def load(kind: str) -> list[dict[str, Any]]:
    """Return the vectors of `client` or `server`, each with the file it is in, written out."""
    return [
        vector | {"file": path.stem, "steps": [_step(step) for step in vector["steps"]]}
        for path in sorted((HERE / kind).glob("*.yaml"))
        for vector in yaml.safe_load(path.read_text())["vectors"]
    ]


def name_of(vector: dict[str, Any]) -> str:
    return f"{vector['file']}: {vector['name']}"


def differs(got: Any, pattern: Any) -> bool:
    """Return whether something does not match a pattern: objects by the fields that are named.

    `$any` and `$same` match whatever is there, `$absent` only what is not.
    """
    if pattern in (ANY, ABSENT, SAME):
        return bool((got is MISSING) == (pattern != ABSENT))
    if isinstance(pattern, dict):
        if not isinstance(got, dict):
            return True
        return any(differs(got.get(name, MISSING), p) for name, p in pattern.items())
    if isinstance(pattern, list):
        if not isinstance(got, list) or len(got) != len(pattern):
            return True
        return any(differs(one, p) for one, p in zip(got, pattern, strict=True))
    return bool(got != pattern)


def same(got: Any, pattern: Any) -> Iterator[Any]:
    """Yield what stands where a matching pattern says `$same`: it must be one value everywhere."""
    if pattern == SAME:
        yield got
    elif isinstance(pattern, dict):
        for name, part in pattern.items():
            yield from same(got.get(name), part)
    elif isinstance(pattern, list):
        for one, part in zip(got, pattern, strict=True):
            yield from same(one, part)


def _step(step: dict[str, Any]) -> dict[str, Any]:
    """Write out a step of a client's vector: every step that brings something has `messages`."""
    step = dict(step)
    if "greeted" in step:
        step["messages"] = [greeting(step.pop("greeted"))]
    elif "events" in step:
        first, last = step.pop("events")
        step["messages"] = [event({"event": offset}) for offset in range(first, last + 1)]
    elif "receive" in step:
        message = step.pop("receive")
        many = isinstance(message, list)
        step["messages"] = [[event(one) for one in message] if many else event(message)]
    return step


def event(frame: dict[str, Any]) -> dict[str, Any]:
    """Write out `{event: n, ...}` as an event with offset n; leave other frames as they are."""
    if "event" not in frame:
        return frame
    named = dict(frame)
    offset, pad = named.pop("event"), named.pop("pad", 0)
    return {
        "type": "notice",
        "event_id": f"e_{offset:0{EVENT_ID_DIGITS}d}",
        "stream": "thread:t1",
        "epoch": "k3f9",
        "offset": offset,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "payload": {"code": "x", "message": "x" * pad},
    } | named


def greeting(streams: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "connection_established",
        "version": 1,
        "connection_id": "k_1",
        "user_id": "u_1",
        "heartbeat": {"interval_seconds": 20.0, "timeout_seconds": 10.0},
        "limits": {"window_events": 512, "window_bytes": 262144},
        "streams": streams,
    }
