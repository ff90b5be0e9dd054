"""The operator's file: what it says is what is started, and what it must not say is named."""

import pytest

from tidings.domain.errors import InvalidInput
from tidings.domain.permissions import Effect
from tidings.settings import variables
from tidings.tools.mcp.configuration import SERVERS_MAX, tool_servers

WHOLE = """
[servers.weather]
command = ["/usr/bin/python3", "/opt/weather/server.py", "$HOME; rm -rf /"]
directory = "/opt/weather"
environment = ["WEATHER_KEY"]
call_seconds = 10

[servers.weather.tools.lookup]
effect = "read"

[servers.tickets]
url = "https://mcp.example.com/mcp"
headers = { Authorization = "TICKETS_AUTHORIZATION" }
"""


def test_a_file_is_read_as_it_stands() -> None:
    servers = tool_servers(WHOLE)
    assert servers["weather"].command[2] == "$HOME; rm -rf /"  # no shell will see it
    assert servers["weather"].effect("lookup") is Effect.READ
    assert servers["weather"].effect("another") is Effect.WRITE
    assert servers["tickets"].headers == {"Authorization": "TICKETS_AUTHORIZATION"}
    assert tool_servers("") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[servers.Weather]\nurl = 'https://a.example/'", "no name of a server"),
        ("[servers.a_b]\nurl = 'https://a.example/'", "no name of a server"),
        ("[servers.a]", "either a command or a url"),
        ("[servers.a]\nurl='https://a.example/'\ncommand=['/bin/x']", "either a command or a url"),
        ("[servers.a]\ncommand = ['python3']", "whole path"),
        ("[servers.a]\ncommand = '/bin/sh -c x'", "Expected `array`"),
        ("[servers.a]\nurl='https://a.example/'\nenvironment=['X']", "belong to a command"),
        ("[servers.a]\ncommand=['/bin/x']\nheaders={A='B'}", "belong to a url"),
        ("[servers.a]\ncommand=['/bin/x']\nshell=true", "unknown field `shell`"),
        ("[servers.a]\ncommand=['/bin/x']\ncall_seconds=0", "call_seconds"),
        ("[servers.a]\ncommand=['/bin/x']\ntools.b.effect='maybe'", "maybe"),
        ("[servers", "TIDINGS_MCP_FILE"),
        ("\n".join(f"[servers.a{n}]\nurl='x'" for n in range(SERVERS_MAX + 1)), "more than 32"),
    ],
)
def test_what_a_file_must_not_say_is_named(text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        tool_servers(text)
    assert refused.value.code == "bad_setting"
    assert told in refused.value.message


def test_a_variable_that_is_not_set_is_named_and_no_value_is_shown() -> None:
    assert variables(["A"], {"A": "1", "B": "2"}) == {"A": "1"}
    with pytest.raises(InvalidInput) as refused:
        variables(["A", "C"], {"A": "secret"})
    assert "C is not set" in refused.value.message
    assert "secret" not in refused.value.message
