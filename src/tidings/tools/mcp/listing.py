"""What a tool server says it can do: bounded, and known again by its hash."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from mcp_types import Tool as ServedTool

from tidings.tools.mcp.hidden import has_hidden
from tidings.tools.mcp.schemas import check_schema

TOOLS_PER_SERVER_MAX = 128
DESCRIPTION_CHARACTERS_MAX = 4_000
SCHEMA_BYTES_MAX = 32 << 10
FULL_NAME_CHARACTERS_MAX = 63

_TOOL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Listed(msgspec.Struct, frozen=True):
    """A tool as its server lists it; `digest` changes when a model would be told something else."""

    name: str
    description: str
    schema: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of name, description and schema as canonical JSON, in hexadecimal."""
        told = [self.name, self.description, self.schema]
        return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


class Listing(msgspec.Struct, frozen=True):
    """The tools of a server by name, and why others it lists cannot be used."""

    tools: dict[str, Listed]
    unusable: dict[str, str]


def listing(server: str, served: Iterable[ServedTool]) -> Listing:
    """Return what can be used of what a server lists."""
    tools: dict[str, Listed] = {}
    unusable: dict[str, str] = {}
    for tool in served:
        listed = Listed(tool.name, tool.description or "", tool.input_schema)
        why = _why_unusable(server, listed)
        if listed.name in tools or listed.name in unusable:
            tools.pop(listed.name, None)
            why = "It is listed twice."
        elif len(tools) >= TOOLS_PER_SERVER_MAX:
            why = f"There are more than {TOOLS_PER_SERVER_MAX}."
        if not why:
            tools[listed.name] = listed
        elif len(unusable) < TOOLS_PER_SERVER_MAX:
            unusable[listed.name] = why
    return Listing(tools, unusable)


def _why_unusable(server: str, tool: Listed) -> str:
    if not _TOOL.fullmatch(tool.name):
        return "Its name has other characters than letters, digits, _ and -."
    if len(server) + 1 + len(tool.name) > FULL_NAME_CHARACTERS_MAX:
        return f"Its name with the server's has over {FULL_NAME_CHARACTERS_MAX} characters."
    schema = msgspec.json.encode(tool.schema).decode()
    if has_hidden(tool.description) or has_hidden(schema):
        return "It has characters that nobody sees, in its description or its schema."
    if len(tool.description) > DESCRIPTION_CHARACTERS_MAX:
        return f"Its description has over {DESCRIPTION_CHARACTERS_MAX:,} characters."
    if len(schema.encode()) > SCHEMA_BYTES_MAX:
        return f"Its schema has over {SCHEMA_BYTES_MAX:,} bytes."
    try:
        check_schema(tool.schema)
    except ValueError as error:
        return f"Its schema cannot be used: {error}."
    return ""
