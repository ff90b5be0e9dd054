"""Threads, commands, runs and events over HTTP; and that B sees nothing of A's."""

import itertools
import re

import pytest

from tests.gateway.world import World

_count = itertools.count()


def command(world: World, token: str, **payload: object) -> dict[str, str]:
    body = {"type": "chat", "id": f"c-{next(_count)}", "payload": {"text": "why?", **payload}}
    receipt = world.ask("POST", "/api/commands", body, token=token)
    assert receipt.status == 200, receipt.body
    got: dict[str, str] = receipt.json
    return got


def test_a_thread_is_made_named_listed_and_deleted(world: World) -> None:
    made = world.ask("POST", "/api/threads", {"title": "Spend"}, token=world.ada)
    assert made.status == 201
    thread = f"/api/threads/{made.json['thread_id']}"
    assert world.ask("PATCH", thread, {"title": "Cost"}, token=world.ada).status == 204
    assert world.ask("GET", thread, token=world.ada).json["title"] == "Cost"
    titles = world.ask("GET", "/api/threads?limit=1", token=world.ada).json["threads"]
    assert [thread["title"] for thread in titles] == ["Cost"]
    assert world.ask("DELETE", thread, token=world.ada).status == 204
    assert world.ask("GET", thread, token=world.ada).code == "not_found"


def test_a_command_is_accepted_once_and_its_events_can_be_read(world: World) -> None:
    body = {"type": "chat", "id": "once", "payload": {"text": "why?"}}
    first = world.ask("POST", "/api/commands", body, token=world.ada).json
    again = world.ask("POST", "/api/commands", body, token=world.ada).json
    assert again == first | {"duplicate": True}
    other = world.ask(
        "POST", "/api/commands", body | {"payload": {"text": "how?"}}, token=world.ada
    )
    assert (other.status, other.code) == (409, "idempotency_conflict")
    stream = f"/api/streams/thread:{first['thread_id']}/events"
    page = world.ask("GET", stream, token=world.ada).json
    assert [event["offset"] for event in page["events"]] == [1]
    assert page["events"][0]["type"] == "message_received"
    rest = world.ask("GET", f"{stream}?after={page['cursor']}", token=world.ada).json
    assert rest["events"] == []
    snapshot = world.ask("GET", f"/api/threads/{first['thread_id']}/snapshot", token=world.ada).json
    assert snapshot["cursor"] == page["cursor"]


def test_a_run_can_be_looked_at_and_cancelled(world: World) -> None:
    run = f"/api/runs/{command(world, world.ada)['run_id']}"
    assert world.ask("GET", run, token=world.ada).json["state"] == "queued"
    assert world.ask("POST", f"{run}/cancel", token=world.ada).status == 202
    assert world.ask("POST", f"{run}/cancel", token=world.ada).status in {202, 409}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "agent_execute", "id": "x", "payload": {}}, "unknown_type"),
        ({"type": "chat", "id": "x"}, "bad_message"),
        ({"type": "chat", "id": "", "payload": {"text": "hi"}}, "bad_message"),
        ({"type": "chat", "id": "x", "payload": {"text": ""}}, "invalid_text"),
        ({"type": "chat", "id": "x", "payload": {"text": "a\0b"}}, "invalid_text"),
    ],
)
def test_a_command_that_is_none_is_refused_as_on_the_socket(
    world: World, frame: dict[str, object], code: str
) -> None:
    answer = world.ask("POST", "/api/commands", frame, token=world.ada)
    assert (answer.status, answer.code) == (422, code)
    if code == "unknown_type":
        assert answer.json["did_you_mean"] == "start_agent"


def test_reports_come_in_three_formats_and_html_is_boxed_in(world: World) -> None:
    world.reports.kept[world.user_ids["ada"], "rep_1"] = "<script>alert(1)</script>"
    for format, kind in (("md", "text/markdown"), ("json", "application/json")):
        answer = world.ask("GET", f"/api/reports/rep_1?format={format}", token=world.ada)
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"].startswith("attachment")
    html = world.ask("GET", "/api/reports/rep_1?format=html", token=world.ada)
    assert html.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert html.headers["x-content-type-options"] == "nosniff"
    assert world.ask("GET", "/api/reports/rep_1?format=exe", token=world.ada).status == 422


def test_every_route_answers_a_stranger_401_and_b_gets_the_same_404_as_for_nothing(
    world: World,
) -> None:
    """Generated from the API's own description: a new route is in the matrix by being there."""
    world.reports.kept[world.user_ids["ada"], "rep_2"] = "hers"
    world.files.kept[world.user_ids["ada"], "f_hers"] = {"file_id": "f_hers"}
    receipt = command(world, world.ada)
    hers = {
        "thread_id": receipt["thread_id"],
        "run_id": receipt["run_id"],
        "file_id": "f_hers",
        "report_id": "rep_2",
        "stream": f"thread:{receipt['thread_id']}",
        "item_id": "i_00000000000000000000000001",
        "webhook_id": webhook(world),
        "call_id": "c1",
    }
    nothing = {name: re.sub(r"\w{8}$", "00000000", value) for name, value in hers.items()}
    nothing |= {"file_id": "f_none", "report_id": "rep_none"}
    checked = 0
    for path, methods in world.ask("GET", "/openapi.json").json["paths"].items():
        for method in methods:
            body = {"title": "mine now"} if method == "patch" else None
            if path.startswith("/api") and path not in {"/api/login", "/api/refresh"}:
                stranger = world.ask(method.upper(), path.format(**hers), body)
                assert stranger.status == 401, (method, path)
            if "{" in path:
                checked += 1
                answers = [
                    world.ask(method.upper(), path.format(**ids), body, token=world.bob)
                    for ids in (hers, nothing)
                ]
                bare = [answer.json | {"request_id": ""} for answer in answers]
                assert bare[0] == bare[1], (method, path)
                assert (answers[0].status, answers[0].code) == (404, "not_found"), (method, path)
    assert checked >= 9


def webhook(world: World) -> str:
    body = {"url": "https://hook.example/"}
    return str(world.ask("POST", "/api/webhooks", body, token=world.ada).json["webhook_id"])


@pytest.mark.parametrize("name", ["thread_id", "files"])
def test_b_cannot_name_what_is_as_in_a_command(world: World, name: str) -> None:
    thread_id = command(world, world.ada)["thread_id"]
    value = thread_id if name == "thread_id" else ["f_hers"]
    body = {"type": "chat", "id": f"c-{next(_count)}", "payload": {"text": "hi", name: value}}
    answer = world.ask("POST", "/api/commands", body, token=world.bob)
    assert (answer.status, answer.code) == (404, "not_found")
