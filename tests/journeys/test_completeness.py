"""The proof at a run's end: a client checks that it has everything, and says so when it has not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.harness.server import ServerProcess, User, add_users, serving
from tidings.domain.commands import Chat, ChatPayload
from tidings.domain.events import TERMINAL, Event
from tidings.domain.proof import Proof
from tidings.protocol.client import Apply, ClientCore, Reply

COUNTED = "tidings_delivery_mismatches_total"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "data") as process:
        yield process


async def run_of(user: User, *, forgets: str = "") -> tuple[ClientCore, list[Event]]:
    """Ask and apply to the end; forget of the proof what had come before a type of event."""
    core, events = ClientCore("d1"), list[Event]()
    url = user.server.url.replace("http", "ws") + "/ws"
    async with connect(url, proxy=None) as socket:
        await socket.send(core.hello(token=user.token).decode())
        await socket.send(core.command(Chat("m1", ChatPayload("What did we spend?"))).decode())
        while not events or events[-1].type not in TERMINAL:
            async with asyncio.timeout(30):
                message = await socket.recv()
            for happening in core.receive(message):
                if isinstance(happening, Reply):
                    await socket.send(happening.message.decode())
                if isinstance(happening, Apply):
                    events.append(happening.event)
                    if happening.event.type == forgets:
                        core.streams[happening.event.stream].proofs[events[0].run_id or ""] = (
                            Proof()
                        )
        await socket.send('{"type":"no_such_type","id":"last"}')
        async with asyncio.timeout(30):
            while b"last" not in await socket.recv(decode=False):
                pass
    return core, events


def test_the_proof_of_a_run_is_what_its_client_has_applied(server: ServerProcess) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        core, events = await run_of(ana)
        proof = Proof()
        for event in events:
            proof = proof.with_event(event.offset, event.event_id, event.type)
        assert events[-1].payload["proof"] == {"count": proof.count, "digest": proof.digest}
        assert proof.count > 5
        assert core.mismatches == 0
        assert server.metric(COUNTED) == 0

    asyncio.run(scenario())


def test_a_client_that_lacks_something_reports_it_and_the_server_counts_it(
    server: ServerProcess,
) -> None:
    async def scenario() -> None:
        (ana,) = await add_users(server, "ana")
        core, _ = await run_of(ana, forgets="agent_thinking")
        assert core.mismatches == 1
        assert server.metric(COUNTED) == 1

    asyncio.run(scenario())
