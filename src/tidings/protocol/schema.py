"""The wire as machines read it: JSON Schema and AsyncAPI 3.0, made from the types themselves."""

from typing import Any

import msgspec

from tidings.domain.events import Event, EventType
from tidings.domain.payloads import PAYLOADS
from tidings.protocol.frames import FRAME_BYTES_MAX, SUBPROTOCOL, ClientFrame
from tidings.protocol.server_frames import ServerFrame

_REFERENCE = "#/components/schemas/{name}"
_DEFINITION = "#/$defs/{name}"


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (2020-12) of `ClientMessage` and `ServerMessage`.

    A message is one frame, or an array of frames.
    """
    definitions = _definitions(_DEFINITION)
    messages = {name: _message(names, _DEFINITION) for name, names in _sides().items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SUBPROTOCOL,
        "$defs": definitions | messages,
    }


def asyncapi(version: str) -> dict[str, Any]:
    """Return an AsyncAPI 3.0 document of the socket, for this version of the server."""
    sides = _sides()
    channel = {"$ref": "#/channels/socket"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings",
            "version": version,
            "description": "The log of a thread is complete and ordered; every client applies "
            "every offset exactly once. The normative text is docs/protocol.md.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "description": f"A WebSocket, subprotocol {SUBPROTOCOL}. A message is one frame "
                f"or an array of frames; from a client, {FRAME_BYTES_MAX} bytes at most.",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"}
                    for names in sides.values()
                    for name in names
                },
            }
        },
        "operations": {
            name: {
                "action": action,
                "channel": channel,
                "messages": [{"$ref": f"#/channels/socket/messages/{m}"} for m in sides[side]],
            }
            for name, action, side in (
                ("hear", "receive", "ClientMessage"),
                ("say", "send", "ServerMessage"),
            )
        },
        "components": {
            "messages": {
                name: {"payload": {"$ref": _REFERENCE.format(name=name)}}
                for names in sides.values()
                for name in names
            },
            "schemas": _definitions(_REFERENCE),
        },
    }


def _sides() -> dict[str, list[str]]:
    """Return the names of what clients say, and of what the server says: frames and events."""
    clients = [type_.__name__ for type_ in ClientFrame.__args__]
    server = [type_.__name__ for type_ in ServerFrame.__args__]
    return {"ClientMessage": clients, "ServerMessage": server + [_event(t) for t in PAYLOADS]}


def _definitions(template: str) -> dict[str, Any]:
    types = (*ClientFrame.__args__, *ServerFrame.__args__, Event, *PAYLOADS.values())
    _, definitions = msgspec.json.schema_components(types, ref_template=template)
    events = {
        _event(type_): {
            "description": payload.__doc__,
            "allOf": [{"$ref": template.format(name="Event")}],
            "properties": {
                "type": {"const": type_.value},
                "payload": {"$ref": template.format(name=payload.__name__)},
            },
        }
        for type_, payload in PAYLOADS.items()
    }
    return dict(sorted((definitions | events).items()))


def _event(type_: EventType) -> str:
    """Return the name of an event's schema, beside that of its payload."""
    return f"{PAYLOADS[type_].__name__}Event"


def _message(names: list[str], template: str) -> dict[str, Any]:
    one = {"anyOf": [{"$ref": template.format(name=name)} for name in names]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "items": one, "minItems": 1}]}
