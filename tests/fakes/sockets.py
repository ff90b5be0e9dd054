"""A WebSocket application that says hello and hangs up."""

from starlette.types import Receive, Scope, Send


async def greet_and_close(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    await send({"type": "websocket.close", "code": 1000})
