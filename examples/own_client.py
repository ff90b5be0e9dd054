"""A client of your own, with any WebSocket library: every event once, over any number of cuts."""

import asyncio
import json
import secrets
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError


async def ask(url: str, token: str, text: str) -> None:
    headers, last = {"Authorization": f"Bearer {token}"}, 0
    command = {"type": "chat", "id": secrets.token_hex(16), "payload": {"text": text}}
    async for socket in connect(f"{url}/ws", additional_headers=headers):
        try:
            await socket.send(json.dumps(command))  # again after a cut: its id makes that harmless
            async for message in socket:
                frame = json.loads(message)
                if "event_id" in frame and frame["offset"] > last:  # else it was here before
                    last = frame["offset"]
                    print(message, flush=True)
                if frame["type"] in ("agent_completed", "agent_failed", "agent_cancelled"):
                    return
        except ConnectionClosedError as closed:
            if closed.rcvd and closed.rcvd.code // 100 == 44:  # do not come back
                raise


asyncio.run(ask(*sys.argv[1:]))
