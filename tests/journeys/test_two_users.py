"""What one user has, no other can see, touch or tell from nothing: every message and route.

The matrix is made from the message types of the protocol and from the routes of the API; a new one
fails the test until it is in here.
"""

import asyncio
import json
import re
from dataclasses import dataclass, fields
from typing import Any

import httpx2
import pytest

from tests.harness.server import ServerProcess, User, add_users
from tests.harness.tiers import settings_of
from tests.journeys.asking import Answered, ask
from tidings.app import build, new_ids
from tidings.domain.context import UserContext
from tidings.notifications import inbox
from tidings.notifications.inbox import Notification
from tidings.protocol.frames import COMMANDS, TYPES

SECRET = "the-secret-of-ana"
LOG = "ts,model,feature,input_tokens,output_tokens\n2026-01-01T00:00:00Z,gpt-4o,{},1000,10\n"


@dataclass(frozen=True)
class Things:
    """The ids of what somebody has, of every kind."""

    user: str
    thread: str
    run: str
    file: str
    report: str
    item: str
    webhook: str


THINGS = tuple(field.name for field in fields(Things))
NOTHING = Things(
    "u_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "t_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "r_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "f_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "rp_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "i_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "wh_01ARZ3NDEKTSV4RRFFQ69G5FAV",
)
"""Ids that never were."""

NO_PROOF = {"count": 0, "digest": "00000000"}
NO_LEAVE = {"call_id": "c1", "decision": "allow", "arguments_hash": "00"}


def frames_about(things: Things) -> dict[str, list[dict[str, Any]]]:
    """Return, for every type of frame, each way in which it can name a thing."""
    hi = {"user_request": "hi"}
    streams = [f"thread:{things.thread}", f"user:{things.user}"]
    return {
        "start_agent": [
            {"payload": hi | {"thread_id": things.thread}},
            {"payload": hi | {"files": [things.file]}},
        ],
        "user_message": [
            {"payload": {"thread_id": things.thread, "text": "hi"}},
        ],
        "chat": [
            {"payload": {"text": "hi", "thread_id": things.thread}},
            {"payload": {"text": "hi", "files": [things.file]}},
        ],
        "stop_agent": [{"payload": {"run_id": things.run}}],
        "answer": [{"payload": {"run_id": things.run, "request_id": "q1", "value": "yes"}}],
        "approve": [{"payload": {"run_id": things.run} | NO_LEAVE}],
        "subscribe": [
            {"stream": stream, "cursor": cursor}
            for stream in streams
            for cursor in ("0", "live", "1", "abcdef.3.AAAAAAAA")
        ],
        "unsubscribe": [{"stream": stream} for stream in streams],
        "ack": [{"positions": {stream: 1}} for stream in streams],
        "hello": [
            {"subscribe": [{"stream": stream, "cursor": cursor}]}
            for stream in streams
            for cursor in ("0", "live", "1")
        ],
        "auth": [],
        "pong": [{"n": 1}],
        "mismatch": [
            {"stream": streams[0], "run_id": things.run, "expected": NO_PROOF, "got": NO_PROOF}
        ],
    }


REFUSED = {*COMMANDS, "subscribe"}
SILENT = {"unsubscribe", "ack", "pong", "mismatch"}
IDENTITY = {"hello", "auth"}
"""Hello says what became of each stream; auth cannot change whose socket it is."""


@dataclass(frozen=True)
class Scene:
    """Ana, who has something of everything, and Bob, who wants it."""

    ana: User
    bob: User
    things: Things
    answered: Answered


@pytest.fixture(scope="module")
def scene(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    ana, bob = asyncio.run(add_users(server, "matrix-ana", "matrix-bob"))
    path = tmp_path_factory.mktemp("matrix") / f"{SECRET}.csv"
    path.write_text(LOG.format(SECRET))
    answered = ask(ana, f"What did we spend? ({SECRET})", path)
    first = answered.events[0]
    things = Things(
        user=asyncio.run(user_id(ana)),
        thread=first["thread_id"],
        run=first["run_id"],
        file=first["payload"]["files"][0],
        report=answered.report["report_id"],
        item=asyncio.run(put_into_inbox(server, asyncio.run(user_id(ana)), first)),
        webhook=add_webhook(ana),
    )
    return Scene(ana, bob, things, answered)


async def put_into_inbox(server: ServerProcess, owner: str, event: dict[str, Any]) -> str:
    """Have an item about a run in its owner's inbox, as if nobody had been there."""
    app = build(settings_of(server.data_dir))
    context = UserContext("default", owner, "s_test")
    ended = Notification(
        event["event_id"], event["thread_id"], event["run_id"], 1, "agent_completed", "completed",
        SECRET, 0.0,
    )  # fmt: skip
    item, told = new_ids().new("i"), new_ids().new("e")
    try:
        await app._kept.tiers.warm.write(
            context, lambda tx: inbox.add(tx, context, ended, item, told, 0.0)
        )
    finally:
        await app.close()
    return item


def add_webhook(user: User) -> str:
    body = {"url": f"https://hook.example/{SECRET}"}
    return str(call(user, "post", "/api/webhooks", body).json()["webhook_id"])


async def user_id(user: User) -> str:
    async with user.connected() as client:
        return str(client.heard[0]["user_id"])


def test_every_type_of_frame_is_in_the_matrix() -> None:
    assert set(frames_about(NOTHING)) == set(TYPES) == REFUSED | SILENT | IDENTITY


@pytest.mark.parametrize("type_", sorted(REFUSED | SILENT))
def test_a_frame_about_anothers_thing_is_answered_like_one_about_nothing(
    scene: Scene, type_: str
) -> None:
    async def heard(things: Things) -> list[bytes]:
        """Return the answers, and prove by a last frame that nothing else was to come."""
        async with scene.bob.connected() as client:
            before = len(client.bytes)
            for number, frame in enumerate(frames_about(things)[type_]):
                await client.send(frame | {"type": type_, "id": f"{type_}-{number}"})
            await client.send({"type": "no_such_type", "id": "last"})
            await client.until(lambda frame: frame.get("ref") == "last")
            assert_nothing_of(scene, client.bytes[before:], things)
            return [without_ids(json.dumps(f).encode(), things) for f in client.heard[1:-1]]

    theirs = asyncio.run(heard(scene.things))
    assert theirs == asyncio.run(heard(NOTHING))
    if type_ in SILENT:
        assert theirs == []
    else:
        assert len(theirs) == len(frames_about(NOTHING)[type_])
        assert all(json.loads(answer)["code"] == "not_found" for answer in theirs)
    assert_untouched(scene)


def test_a_hello_gets_nothing_of_anothers_streams(scene: Scene) -> None:
    async def greeted(things: Things) -> list[bytes]:
        greetings = []
        for frame in frames_about(things)["hello"]:
            async with scene.bob.connected() as client:
                await client.send(frame | {"type": "hello", "device": "d1"})
                greeting = await client.next()
                assert [s["code"] for s in greeting["streams"]] == ["not_found"]
                assert_nothing_of(scene, json.dumps(greeting["streams"]).encode(), things)
                greetings.append(without_ids(json.dumps(greeting["streams"]).encode(), things))
        return greetings

    assert asyncio.run(greeted(scene.things)) == asyncio.run(greeted(NOTHING))


def test_a_socket_keeps_its_user_whatever_token_it_is_given(scene: Scene) -> None:
    async def scenario() -> None:
        for type_ in IDENTITY:
            async with scene.bob.connected() as client:
                stream = {"stream": f"thread:{scene.things.thread}", "cursor": "0"}
                frame = {"type": type_, "token": scene.ana.token, "subscribe": [stream]}
                await client.send(frame)
                assert await client.closed() == 4401
                assert_nothing_of(scene, client.bytes, NOTHING)

    asyncio.run(scenario())


def test_bob_hears_nothing_while_ana_works(scene: Scene) -> None:
    async def scenario() -> None:
        async with scene.bob.connected() as bob, scene.ana.connected() as ana:
            accepted = await ana.ask(SECRET, "live", thread_id=scene.things.thread)
            await ana.until_end(accepted["run_id"])
            await bob.send({"type": "no_such_type", "id": "last"})
            await bob.until(lambda frame: frame.get("ref") == "last")
            assert len(bob.heard) == 2

    asyncio.run(scenario())


# -- HTTP ------------------------------------------------------------------------------------


def paths_about(things: Things) -> dict[tuple[str, str], list[tuple[str, Any]]]:
    """Return, for every route that names a thing, its addresses and bodies."""
    thread, stream = f"/api/threads/{things.thread}", "/api/streams/thread:"
    command = {"type": "user_message", "id": "c1"}
    return {
        ("get", "/api/files/{file_id}"): [(f"/api/files/{things.file}", None)],
        ("delete", "/api/files/{file_id}"): [(f"/api/files/{things.file}", None)],
        ("get", "/api/threads/{thread_id}"): [(thread, None)],
        ("patch", "/api/threads/{thread_id}"): [(thread, {"title": "mine"})],
        ("delete", "/api/threads/{thread_id}"): [(thread, None)],
        ("get", "/api/threads/{thread_id}/snapshot"): [(f"{thread}/snapshot", None)],
        ("get", "/api/threads/{thread_id}/history"): [
            (f"{thread}/history{place}", None) for place in ("", "?before=3")
        ],
        ("get", "/api/threads/{thread_id}/events"): [
            (f"{thread}/events?after={place}", None) for place in ("0", "live", "abcdef.3.AAAAAAAA")
        ],
        ("get", "/api/streams/{stream}/events"): [
            (f"{stream}{things.thread}/events?after=0", None),
            (f"{stream}{things.thread}/events?after=abcdef.3.AAAAAAAA", None),
            (f"/api/streams/user:{things.user}/events?after=live", None),
        ],
        ("post", "/api/commands"): [
            ("/api/commands", command | {"payload": {"thread_id": things.thread, "text": "hi"}}),
            (
                "/api/commands",
                {"type": "stop_agent", "id": "c2", "payload": {"run_id": things.run}},
            ),
            (
                "/api/commands",
                {"type": "chat", "id": "c3", "payload": {"text": "hi", "files": [things.file]}},
            ),
            (
                "/api/commands",
                {"type": "approve", "id": "c4", "payload": {"run_id": things.run} | NO_LEAVE},
            ),
        ],
        ("get", "/api/runs/{run_id}"): [(f"/api/runs/{things.run}", None)],
        ("get", "/api/runs/{run_id}/calls/{call_id}"): [(f"/api/runs/{things.run}/calls/c1", None)],
        ("post", "/api/runs/{run_id}/cancel"): [(f"/api/runs/{things.run}/cancel", None)],
        ("post", "/api/inbox/{item_id}/read"): [(f"/api/inbox/{things.item}/read", None)],
        ("delete", "/api/webhooks/{webhook_id}"): [(f"/api/webhooks/{things.webhook}", None)],
        ("get", "/api/webhooks/{webhook_id}/deliveries"): [
            (f"/api/webhooks/{things.webhook}/deliveries", None)
        ],
        ("get", "/api/reports/{report_id}"): [
            (f"/api/reports/{things.report}?format={form}", None) for form in ("md", "html", "json")
        ],
    }


ABOUT_NOBODY = {
    ("post", "/api/login"),
    ("post", "/api/refresh"),
    ("get", "/asyncapi.json"),
    ("get", "/schema.json"),
    ("get", "/livez"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}
FOR_ADMINISTRATORS = {
    ("get", path) for path in ("/api/health", "/api/admin/usage", "/api/admin/levels")
}
ABOUT_ONESELF = {
    ("post", "/api/logout"): None,
    ("post", "/api/ws-ticket"): None,
    ("get", "/api/files"): "files",
    ("post", "/api/files"): None,
    ("get", "/api/threads"): "threads",
    ("post", "/api/threads"): None,
    ("get", "/api/permissions"): "tools",
    ("get", "/api/usage"): "spent",
    ("get", "/api/status"): None,
    ("get", "/api/agents"): "agents",
    ("put", "/api/permissions"): None,
    ("put", "/api/positions"): None,
    ("get", "/api/inbox"): "items",
    ("get", "/api/preferences"): "inbox",
    ("put", "/api/preferences"): None,
    ("get", "/api/webhooks"): "webhooks",
    ("post", "/api/webhooks"): None,
}


def test_every_route_is_in_the_matrix(scene: Scene) -> None:
    api = httpx2.get(f"{scene.bob.server.url}/openapi.json", trust_env=False).json()
    routes = {(method, path) for path, methods in api["paths"].items() for method in methods}
    about = set(paths_about(NOTHING)) | ABOUT_NOBODY | set(ABOUT_ONESELF)
    assert routes == about | FOR_ADMINISTRATORS


@pytest.mark.parametrize("route", sorted(FOR_ADMINISTRATORS), ids=" ".join)
def test_what_is_for_administrators_is_refused_to_both(
    scene: Scene, route: tuple[str, str]
) -> None:
    for user in (scene.ana, scene.bob):
        refused = call(user, *route, None)
        assert (refused.status_code, refused.json()["code"]) == (403, "admin_only")


@pytest.mark.parametrize("route", sorted(paths_about(NOTHING)), ids=" ".join)
def test_a_request_about_anothers_thing_is_answered_like_one_about_nothing(
    scene: Scene, route: tuple[str, str]
) -> None:
    def answers(things: Things) -> list[tuple[int, bytes]]:
        return [
            comparable(call(scene.bob, route[0], path, body), things)
            for path, body in paths_about(things)[route]
        ]

    theirs = answers(scene.things)
    assert theirs == answers(NOTHING)
    for status, body in theirs:
        assert status == 404
        assert SECRET.encode() not in body
    assert_untouched(scene)


def test_lists_hold_ones_own_things_only(scene: Scene) -> None:
    for (method, path), key in ABOUT_ONESELF.items():
        if key is not None:
            answer = call(scene.bob, method, path, None)
            assert_nothing_of(scene, answer.content, NOTHING)
            assert call(scene.ana, method, path, None).json()[key]


def call(user: User, method: str, path: str, body: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {user.token}"}
    with httpx2.Client(base_url=user.server.url, headers=headers, trust_env=False) as client:
        return client.request(method, path, json=body)


def comparable(answer: httpx2.Response, things: Things) -> tuple[int, bytes]:
    return answer.status_code, without_ids(answer.content, things)


# -- what may not be ---------------------------------------------------------------------------


def without_ids(said: bytes, things: Things) -> bytes:
    """Return an answer without what the asker put in, and without the request's own number."""
    for name in THINGS:
        said = said.replace(getattr(things, name).encode(), name.encode())
    return re.sub(rb"req_[0-9A-Z]+", b"req", said)


def assert_nothing_of(scene: Scene, heard: bytes, asked_with: Things) -> None:
    """Check that there is nothing of Ana's in it that the asker did not say first."""
    assert SECRET.encode() not in heard
    for event in scene.answered.events:
        assert event["event_id"].encode() not in heard
    for name in THINGS:
        its = getattr(scene.things, name)
        assert its == getattr(asked_with, name) or its.encode() not in heard


def assert_untouched(scene: Scene) -> None:
    """Check that all that Ana has is as it was."""
    page = call(
        scene.ana,
        "get",
        f"/api/streams/thread:{scene.things.thread}/events?after=0&limit=500",
        None,
    ).json()
    ours = [e for e in page["events"] if e["run_id"] == scene.things.run]
    assert ours == scene.answered.events
    title = call(scene.ana, "get", f"/api/threads/{scene.things.thread}", None).json()["title"]
    assert title.startswith("What did we spend?")
    assert call(scene.ana, "get", f"/api/files/{scene.things.file}", None).status_code == 200
