"""What a tool server answers, as a result: bounded text, and nobody's word but the server's."""

import msgspec
from mcp_types import CallToolResult, EmbeddedResource, ResourceLink, TextContent
from mcp_types import TextResourceContents as TextOf

from tidings.domain.errors import Failure
from tidings.domain.facts import ToolResult
from tidings.tools.mcp.hidden import without_hidden

CONTENT_CHARACTERS_MAX = 100_000
ERROR_CHARACTERS_MAX = 1_000


def result_of(tool: str, answer: CallToolResult) -> ToolResult:
    """Return the text and the structured content of an answer, cut at CONTENT_CHARACTERS_MAX.

    Characters that nobody sees are left out.

    Raises:
        Failure: `tool_error`: the tool says that it failed, in its words.
    """
    text = without_hidden(_text(answer))
    if answer.is_error:
        raise Failure("tool_error", text[:ERROR_CHARACTERS_MAX] or "The tool failed.")
    notes: tuple[str, ...] = ()
    if len(text) > CONTENT_CHARACTERS_MAX:
        notes = (f"The answer was cut after {CONTENT_CHARACTERS_MAX:,} characters.",)
        text = text[:CONTENT_CHARACTERS_MAX]
    return ToolResult(f"{tool} has answered.", notes=notes, content=text)


def _text(answer: CallToolResult) -> str:
    """Return what can be read of an answer; structured content alone where there is any."""
    if answer.structured_content is not None and not answer.is_error:
        return msgspec.json.encode(answer.structured_content).decode()
    parts = []
    for block in answer.content:
        match block:
            case TextContent(text=text) | EmbeddedResource(resource=TextOf(text=text)):
                parts.append(text)
            case ResourceLink(uri=uri):
                parts.append(f"[a link to {uri}]")
            case _:
                parts.append(f"[{block.type} that cannot be shown]")
    return "\n".join(parts)
