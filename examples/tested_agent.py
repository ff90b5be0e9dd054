"""An agent with its test: what it answers, and that it pays once wherever the server dies."""

from tidings.authoring import Message, ModelRequest, Outcome, RunContext, ToolContext, ToolResult
from tidings.authoring import tool as made_tool
from tidings.testing import Rehearsal, Script, call, crash_everywhere, rehearse, says, wants


@made_tool()
async def pay(_: ToolContext, what: str) -> ToolResult:
    """Pay for something."""
    return ToolResult(f"{what} is paid.")


async def cashier(ctx: RunContext) -> Outcome:
    asked = (Message("user", ctx.request.text),)
    reply = await ctx.model(ModelRequest("Pay what is asked for.", asked))
    for wish in reply.calls:
        await ctx.tool(wish.name, wish.arguments, purpose="You asked for it")
    return Outcome((await ctx.model(ModelRequest("Say what was done.", asked))).text)


def made() -> Rehearsal:
    model = Script(wants(call("pay", what="rent")), says("It is paid."))
    return Rehearsal(cashier, "Pay the rent.", model, tools=[pay])


def test_it_pays() -> None:
    story = rehearse(made())
    assert (story.status, story.answer) == ("completed", "It is paid.")
    assert [paid["summary"] for paid in story.of("tool_completed")] == ["rent is paid."]


def test_it_pays_once_wherever_the_server_dies() -> None:
    crashes = crash_everywhere(made)
    assert {crash.story.answer for crash in crashes} == {"It is paid."}
