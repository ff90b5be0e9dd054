"""Chainlit: a message's handler calls the tool as a step and streams the answer; kept by nobody.

It brings no loop of model and tools: the handler is the script.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ["CHAINLIT_APP_ROOT"] = sys.argv[2]

import chainlit
from chainlit.cli import run_chainlit

from bench.peers.script import ARGUMENTS, TOOL, WORDS, echoed


@chainlit.step(type="tool", name=TOOL)
async def echo(text: str) -> str:
    """Return what was said."""
    return echoed(text)


@chainlit.on_message
async def answer(_asked: chainlit.Message) -> None:
    await echo(**ARGUMENTS)
    message = chainlit.Message("")
    for word in WORDS:
        await message.stream_token(word)
    await message.update()


if __name__ == "__main__":
    os.environ["CHAINLIT_PORT"] = sys.argv[1]
    run_chainlit(str(Path(__file__)))
