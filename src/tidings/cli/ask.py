"""`tidings ask`: send files and a question, show the run live, return how it ended."""

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidings.cli.refusals import EXIT_FAILED
from tidings.cli.replies import Read, Replies
from tidings.client.http import Api
from tidings.client.session import Session, always
from tidings.domain.commands import Receipt, StartAgent, StartPayload, StopAgent, StopPayload
from tidings.domain.events import TERMINAL, Event, EventType
from tidings.domain.ports import IdSource
from tidings.protocol.client import Apply

EXIT_COMPLETED = 0
EXIT_DEGRADED = 3
EXIT_CANCELLED = 130


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What to ask, about which files (to be sent, or sent before), in which thread, and whom."""

    text: str
    files: tuple[Path, ...] = ()
    file_ids: tuple[str, ...] = ()
    thread_id: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and as whom."""

    url: str
    token: str


async def ask(
    server: Server,
    question: Inquiry,
    ids: IdSource,
    show: Callable[[Apply], None],
    read: Read | None = None,
) -> Event:
    """Ask and show every event of the run once; return its terminal event.

    What the run asks is answered by what `read` gives for a prompt; without one it waits for
    another client.

    Ctrl-C asks the server to stop the run and waits for its end; a second one waits no longer.

    Raises:
        Unavailable: `server_unreachable`: no server answers there.
        TidingsError: the server refused, by code and sentence.
    """
    api = Api(server.url, server.token)
    sent = [(await api.upload(path))["file_id"] for path in question.files]
    files = (*question.file_ids, *sent)
    said = StartPayload(question.text, question.agent, question.thread_id, files)
    command = StartAgent(ids.new("m"), said)
    async with Session(server.url, always(server.token), ids.new("d"), random.Random()) as session:  # noqa: S311
        receipt = await session.send(command)
        stop = StopAgent(ids.new("m"), StopPayload(receipt.run_id))
        with _on_ctrl_c(lambda: session.post(stop)):
            return await _until_end(session, receipt, show, read and Replies(ids, read))


def exit_code(terminal: Event) -> int:
    """Return how the process tells its caller how the run ended."""
    if terminal.type == EventType.AGENT_COMPLETED:
        degraded = terminal.payload.get("status") != "completed"
        return EXIT_DEGRADED if degraded else EXIT_COMPLETED
    return EXIT_CANCELLED if terminal.type == EventType.AGENT_CANCELLED else EXIT_FAILED


async def _until_end(
    session: Session, receipt: Receipt, show: Callable[[Apply], None], replies: Replies | None
) -> Event:
    async for applied in session.events():
        if applied.event.run_id == receipt.run_id:
            show(applied)
            if applied.event.type in TERMINAL:
                return applied.event
            for command in await replies.to(applied.event) if replies else ():
                session.post(command)
    raise AssertionError("a session yields events for ever")


@contextmanager
def _on_ctrl_c(act: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def first() -> None:
        loop.remove_signal_handler(signal.SIGINT)  # the next one interrupts as usual
        act()

    loop.add_signal_handler(signal.SIGINT, first)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
