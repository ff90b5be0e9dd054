"""Which tool servers there are: the operator's file, read once at the start."""

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from tidings.domain.errors import InvalidInput
from tidings.domain.permissions import Effect

SERVERS_MAX = 32
CALL_SECONDS = 30.0

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}", re.ASCII)

Seconds = Annotated[float, msgspec.Meta(gt=0, le=600)]
Environment = Callable[[list[str]], Mapping[str, str]]
"""Return the values of variables of the server's own environment, by their names.

Raises:
    InvalidInput: one is not set.
"""


class ToolRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator knows of a tool; by default it changes something with every call."""

    effect: Effect = Effect.WRITE


class ToolServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool server: a program to start, or an address to call.

    `command` is the program, by its whole path, and its arguments: no shell sees them.
    `environment` names the variables that are passed on to it, no others are; `headers` gives the
    variable that holds the value of each header.
    """

    command: tuple[str, ...] = ()
    directory: str | None = None
    environment: tuple[str, ...] = ()
    url: str = ""
    headers: dict[str, str] = {}
    call_seconds: Seconds = CALL_SECONDS
    tools: dict[str, ToolRule] = {}

    def effect(self, tool: str) -> Effect:
        """Return what a call of a tool does, as far as the operator says."""
        return self.tools.get(tool, ToolRule()).effect


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    servers: dict[str, ToolServer] = {}


def tool_servers(text: str) -> dict[str, ToolServer]:
    """Read a TOML file of tool servers, by their names.

    Raises:
        InvalidInput: `bad_setting`, with what is wrong.
    """
    try:
        servers = msgspec.convert(tomllib.loads(text), _File).servers
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _bad(str(error)) from error
    if len(servers) > SERVERS_MAX:
        raise _bad(f"there are more than {SERVERS_MAX} servers.")
    for name, server in servers.items():
        _check(name, server)
    return servers


def _check(name: str, server: ToolServer) -> None:
    if not _NAME.fullmatch(name):
        raise _bad(f"{name!r} is no name of a server: up to 20 of a-z, 0-9 and -, a letter first.")
    if bool(server.command) == bool(server.url):
        raise _bad(f"{name}: give either a command or a url.")
    if server.command and not server.command[0].startswith("/"):
        raise _bad(f"{name}: give the whole path of the program.")
    if server.url and (server.environment or server.directory):
        raise _bad(f"{name}: environment and directory belong to a command.")
    if server.command and server.headers:
        raise _bad(f"{name}: headers belong to a url.")


def _bad(why: str) -> InvalidInput:
    return InvalidInput("bad_setting", f"TIDINGS_MCP_FILE: {why}")
