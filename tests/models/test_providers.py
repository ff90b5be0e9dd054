"""Providers' models, spoken to over a real socket."""

import asyncio
import re

import pytest

from tests.fakes.openai_server import Answer, OpenAIServer, error, openai_server, stream
from tests.harness.server import ROOT
from tidings.domain.errors import Failure, InvalidInput
from tidings.models.planner import PLANNER
from tidings.models.port import Message, ModelReply, ModelRequest, ToolCall, ToolSpec
from tidings.models.providers import named_models, parse_chain

SECRET = "sk-very-secret"

WEATHER = ToolSpec(
    "weather",
    "Tell the weather.",
    {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def test_text_arrives_piece_by_piece_and_whole() -> None:
    pieces, reply, _ = ask(stream({"content": "Hello "}, {"content": "world"}))
    assert pieces == ["Hello ", "world"]
    assert reply.text == "Hello world"
    assert reply.model == "openai:m"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)


def test_the_cost_of_a_server_of_ones_own_is_unknown() -> None:
    _, reply, _ = ask(stream({"content": "x"}))
    assert reply.usage.cost_usd is None


def test_a_tool_call_split_over_chunks_is_put_together() -> None:
    begin = {"index": 0, "id": "call_1", "type": "function"}
    _, reply, _ = ask(
        stream(
            {"tool_calls": [begin | {"function": {"name": "weather", "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"to'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": 'wn": "Bern"}'}}]},
            finish="tool_calls",
        )
    )
    assert reply.calls == (ToolCall("call_1", "weather", {"town": "Bern"}),)


def test_the_whole_conversation_is_sent() -> None:
    """Instructions, tools, calls and their results reach the provider."""
    turns = (
        Message("user", "Weather in Bern?"),
        Message("assistant", calls=(ToolCall("call_1", "weather", {"town": "Bern"}),)),
        Message("tool", "sunny", call_id="call_1", tool="weather"),
    )
    _, _, server = ask(stream({"content": "Sunny."}), messages=turns)
    sent = server.requests[0]
    assert [message["role"] for message in sent["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert sent["messages"][0]["content"] == "Be brief."
    assert sent["messages"][3]["tool_call_id"] == "call_1"
    assert sent["tools"][0]["function"]["name"] == "weather"
    assert sent["max_completion_tokens"] == 100


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(401, f"Incorrect API key provided: {SECRET}"), "model_auth_failed"),
        (error(429, "Slow down"), "model_rate_limited"),
        (error(400, "No such parameter"), "model_rejected"),
        (error(500, "Oops"), "model_unavailable"),
        (stream({"content": "Hel"}, cut=True), "model_unavailable"),
        (Answer(200, b"data: {not json\n\n"), "model_bad_reply"),
        (Answer(200, b"<html>Hello</html>", "text/html"), "model_bad_reply"),
        (stream({"content": ""}), "model_bad_reply"),
        (stream({"content": "No"}, finish="content_filter"), "model_refused"),
    ],
    ids=["auth", "limit", "request", "server", "cut", "json", "html", "empty", "filter"],
)
def test_a_fault_is_named_and_tells_no_secret(answer: Answer, code: str) -> None:
    with pytest.raises(Failure) as failed:
        ask(answer)
    assert failed.value.code == code
    assert SECRET not in failed.value.message


def test_a_server_that_is_not_there_is_unavailable() -> None:
    (model,) = named_models("openai:m", "http://127.0.0.1:9/v1")
    with pytest.raises(Failure, match="does not answer") as failed:
        asyncio.run(model.respond(ModelRequest("", (Message("user", "Hi"),)), ignore))
    assert failed.value.code == "model_unavailable"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gpt-4o", "model_unknown"),
        ("openai:", "model_unknown"),
        ("openai:a,", "model_unknown"),
        ("planner,openai:a", "model_unknown"),
        ("ollama:a,ollama:a", "model_unknown"),
        (",".join(f"ollama:{n}" for n in range(9)), "model_unknown"),
        ("nobody:gpt-4o", "model_not_configured"),
        ("anthropic:claude-sonnet-4-5", "model_not_configured"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_at_start(
    name: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(InvalidInput) as refused:
        named_models(name)
    assert refused.value.code == code


def documented() -> list[tuple[str, list[str], str]]:
    """Return the providers of the document, with the variables and the package that each needs."""
    rows = []
    for line in (ROOT / "docs/models.md").read_text().splitlines():
        if line.startswith("| `"):
            names, needed, _ = line.strip("| ").split(" | ")
            package = re.search(r"package `(.+)`", needed)
            variables = [] if package else re.findall(r"`(\w+)`", needed)
            told = package[1] if package else ""
            rows += [(name, variables, told) for name in re.findall(r"`([\w-]+)`", names)]
    return rows


@pytest.mark.parametrize(("name", "variables", "package"), documented(), ids=str)
def test_a_provider_is_used_by_its_name_or_says_what_is_missing(
    name: str, variables: list[str], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (*variables, "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    if variables or package:
        with pytest.raises(InvalidInput) as refused:
            named_models(f"{name}:openai/m")
        assert refused.value.code == "model_not_configured"
        wanted = package or variables[0]
        assert wanted in refused.value.message
    if package or name == "google-cloud":  # not installed here; real credentials
        return
    for variable in variables:
        base = variable.endswith(("URL", "ENDPOINT"))
        monkeypatch.setenv(variable, "http://127.0.0.1:9/v1" if base else "x")
    (model,) = named_models(f"{name}:openai/m")
    assert model.name == f"{name}:openai/m"


def test_older_names_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "x")
    (model,) = named_models("google-gla:gemini-2.5-flash")
    assert model.name == "google-gla:gemini-2.5-flash"


def test_a_chain_is_named_by_one_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    text = "openai:gpt-5, anthropic:claude@http://127.0.0.1:9 ,openai:m@https://host:1/v1,planner"
    assert parse_chain(text) == (
        ("openai", "gpt-5", None),
        ("anthropic", "claude", "http://127.0.0.1:9"),
        ("openai", "m", "https://host:1/v1"),
        None,
    )
    names = [model.name for model in named_models(text)]
    assert names == ["openai:gpt-5", "anthropic:claude", "openai:m", PLANNER]


def ask(
    *answers: Answer,
    messages: tuple[Message, ...] = (Message("user", "Hi"),),
) -> tuple[list[str], ModelReply, OpenAIServer]:
    """Ask a model of a scripted server; return the pieces, the reply and the server."""
    pieces: list[str] = []

    async def on_text(piece: str) -> None:
        pieces.append(piece)

    async def scenario() -> tuple[ModelReply, OpenAIServer]:
        async with openai_server(*answers) as server:
            (model,) = named_models(f"openai:m@{server.base_url}")
            request = ModelRequest("Be brief.", messages, (WEATHER,), max_output_tokens=100)
            return await model.respond(request, on_text), server

    reply, server = asyncio.run(scenario())
    return pieces, reply, server


async def ignore(_text: str) -> None:
    """Take text that the test does not look at."""
