"""A model that says what the test wrote for it."""

from tidings.models.port import Message, ModelReply, ModelRequest, OnText, Usage


class ScriptedModel:
    """Answers each request with the text of its last message, in upper case; counts requests."""

    def __init__(self) -> None:
        self.requests = 0

    @property
    def name(self) -> str:
        return "test:scripted"

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        self.requests += 1
        text = request.messages[-1].text.upper()
        for word in text.split():
            await on_text(word + " ")
        return ModelReply(self.name, text, usage=Usage(10, len(text.split()), 0.001))


def says(text: str) -> ModelRequest:
    """Return a request that ends with this message."""
    return ModelRequest("Be brief.", (Message("user", text),))
