"""What every server does for one message: the model wants one call, then answers in pieces.

The peers import this from environments of their own: it needs nothing.
"""

AGENT, INSTRUCTIONS = "one_tool", "Be brief."
QUESTION = "What is this?"
TOOL, CALL_ID, ARGUMENTS, ARGUMENTS_JSON = "echo", "c1", {"text": "hello"}, '{"text":"hello"}'
WORDS = [f"word{n} " for n in range(20)]
ANSWER = "".join(WORDS)


def echoed(text: str) -> str:
    """Return what the tool says."""
    return f"{CALL_ID}: {text}"
