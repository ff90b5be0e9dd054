"""Moments that are hard to meet on a real clock, one by one."""

import json
from collections.abc import Iterator

import pytest

from tests.machine.scene import Scene
from tests.machine.serving import USERS, SteppedLink
from tidings.domain.commands import Chat, ChatPayload
from tidings.domain.events import thread_stream, user_stream
from tidings.events.feed import POLL_SECONDS


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene(1)
    yield made
    made.close()


def frames(link: SteppedLink) -> list[dict[str, object]]:
    """Take what the server has said."""
    said = []
    while link.down:
        message = json.loads(link.take())
        said += message if isinstance(message, list) else [message]
    return said


def ask(scene: Scene, id: str, thread: str | None = None) -> str:
    """Have Ana say something; return its thread."""
    accepting = scene.server.router.accept(USERS["ana"], Chat(id, ChatPayload("Go on.", thread)))
    return scene.loop.finish(accepting).thread_id


def hello(scene: Scene, link: SteppedLink, *streams: str) -> None:
    wanted = [{"stream": stream, "cursor": "0"} for stream in streams]
    token = f"ana@{scene.server.clock.now() + 60}"
    link.up.append(json.dumps({"type": "hello", "token": token, "subscribe": wanted}))
    link.deliver(1)


def test_nothing_of_a_stream_comes_before_the_greeting(scene: Scene) -> None:
    """One stream is found, and grows, while another is still looked for."""
    threads = [ask(scene, "m1"), ask(scene, "m2")]
    link = scene.server.connect()
    scene.database.slow = True
    hello(scene, link, *map(thread_stream, threads))
    for _ in range(3):
        scene.loop.settle()
        scene.database.release(1)
    scene.loop.settle()
    assert frames(link) == []
    scene.database.slow = False
    scene.database.release()
    scene.loop.settle()
    said = [frame["type"] for frame in frames(link)]
    assert said[0] == "connection_established"
    assert said.count("message_received") == 2


def test_a_subscription_is_marked_before_its_first_event(scene: Scene) -> None:
    thread = ask(scene, "m1")
    link = scene.server.connect()
    hello(scene, link)
    again = {"type": "subscribe", "stream": thread_stream(thread), "cursor": "0"}
    link.up.extend([json.dumps(again)] * 2)
    link.deliver(2)
    scene.loop.settle()
    said = [(frame["type"], frame.get("from")) for frame in frames(link)[1:]]
    marked = [("subscribed", 1), ("message_received", None), ("live", None)]
    assert said in ([*marked, *marked], [marked[0], *marked])


def test_a_stream_that_begins_while_heads_are_polled_is_not_taken_for_removed(scene: Scene) -> None:
    """A new user's first message: the poll has looked, and not yet told, when it is committed."""
    link = scene.server.connect()
    hello(scene, link, user_stream("ana"))
    scene.loop.settle()
    scene.database.slow = True
    scene.loop.advance(POLL_SECONDS)
    scene.database.release(1)
    scene.loop.settle()
    scene.database.slow = False
    ask(scene, "m1")
    scene.database.release()
    scene.loop.settle()
    said = [frame["type"] for frame in frames(link)]
    assert "thread_created" in said
    assert "reset" not in said
