"""An echo over WebSockets, spoken as the product speaks them: `echo.py PORT [FRAME_BYTES]`."""

import asyncio
import sys

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from tidings.cli.serve import configured
from tidings.protocol.frames import FRAME_BYTES_MAX


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        answer = {"bytes": message["bytes"]} if text is None else {"text": text}
        await send({"type": "websocket.send", **answer})


class EchoServer(uvicorn.Server):
    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        print("ready", flush=True)


def main(port: int, frame_bytes: int = FRAME_BYTES_MAX) -> None:
    config = configured(echo, frame_bytes)
    config.port = port
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(EchoServer(config).serve())


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
