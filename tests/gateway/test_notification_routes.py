"""Inbox, preferences and webhooks over HTTP: what is taken, what is refused."""

import pytest

from tests.gateway.world import World
from tidings.domain.events import NOTIFIED
from tidings.notifications.webhooks import WEBHOOKS_PER_USER_MAX

KINDS = sorted(kind.value for kind in NOTIFIED)


def test_preferences_are_everything_until_something_is_chosen(world: World) -> None:
    everything = {"inbox": KINDS, "webhooks": KINDS}
    assert world.ask("GET", "/api/preferences", token=world.bob).json == everything
    chosen = {"inbox": ["agent_failed"], "webhooks": []}
    assert world.ask("PUT", "/api/preferences", chosen, token=world.bob).status == 204
    assert world.ask("GET", "/api/preferences", token=world.bob).json == chosen
    assert world.ask("GET", "/api/preferences", token=world.ada).json == everything
    assert world.ask("PUT", "/api/preferences", everything, token=world.bob).status == 204


@pytest.mark.parametrize(
    "body",
    [
        {"inbox": ["agent_failed"]},
        {"inbox": ["no_such_kind"], "webhooks": []},
        {"inbox": "agent_failed", "webhooks": []},
        {"inbox": ["agent_failed"] * 9, "webhooks": []},
        {"inbox": [], "webhooks": [], "telegram": []},
    ],
)
def test_preferences_that_make_no_sense_are_refused(world: World, body: object) -> None:
    answer = world.ask("PUT", "/api/preferences", body, token=world.bob)
    assert (answer.status, answer.code) in {(422, "invalid_field"), (422, "unknown_field")}


def test_a_webhooks_secret_is_shown_once(world: World) -> None:
    made = world.ask("POST", "/api/webhooks", {"url": "https://hook.example/x"}, token=world.bob)
    assert made.status == 201
    assert made.json["secret"].startswith("whsec_")
    listed = world.ask("GET", "/api/webhooks", token=world.bob)
    assert made.json["secret"].encode() not in listed.body
    assert [hook["url"] for hook in listed.json["webhooks"]] == ["https://hook.example/x"]
    address = f"/api/webhooks/{made.json['webhook_id']}"
    assert world.ask("GET", f"{address}/deliveries", token=world.bob).json == {"deliveries": []}
    assert world.ask("DELETE", address, token=world.bob).status == 204
    assert world.ask("DELETE", address, token=world.bob).code == "not_found"
    assert world.ask("GET", "/api/webhooks", token=world.bob).json == {"webhooks": []}


@pytest.mark.parametrize(
    "url",
    ["http://hook.example/", "https://127.0.0.1/", "https://[::ffff:a9fe:a9fe]/", "https://0x7f.1/",
     "https://user:pw@hook.example/", "https://hook.example:6379/", "https://localhost/", "x"],
)  # fmt: skip
def test_a_webhook_that_leads_inside_is_refused(world: World, url: str) -> None:
    answer = world.ask("POST", "/api/webhooks", {"url": url}, token=world.bob)
    assert (answer.status, answer.code) == (422, "url_blocked")


def test_webhooks_are_few(world: World) -> None:
    made = [
        world.ask("POST", "/api/webhooks", {"url": "https://hook.example/"}, token=world.bob)
        for _ in range(WEBHOOKS_PER_USER_MAX + 1)
    ]
    assert (made[-1].status, made[-1].code) == (429, "too_many_webhooks")
    for answer in made[:-1]:
        address = f"/api/webhooks/{answer.json['webhook_id']}"
        assert world.ask("DELETE", address, token=world.bob).status == 204


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "unread=perhaps", "before=" + "x" * 200])
def test_an_inbox_is_asked_for_in_bounds(world: World, query: str) -> None:
    assert world.ask("GET", "/api/inbox", token=world.bob).json == {"items": [], "unread": 0}
    answer = world.ask("GET", f"/api/inbox?{query}", token=world.bob)
    assert (answer.status, answer.code) == (422, "invalid_field")
