"""What is for administrators is refused to everybody else, at every request anew."""

import asyncio
from pathlib import Path

from tests.fakes.sections import with_
from tests.gateway.world import World, running
from tidings.domain.tiers import TierHealth, TierState
from tidings.health.overview import PartHealth, Sections, ToolServerHealth


def admin_routes(world: World) -> list[tuple[str, str]]:
    """Return every method and path that the API's own description calls an administrator's."""
    paths = world.ask("GET", "/openapi.json").json["paths"]
    return [
        (method.upper(), path)
        for path, methods in paths.items()
        for method, described in methods.items()
        if "admin" in described.get("tags", ())
    ]


def appoint(world: World, name: str, *, admin: bool) -> None:
    asyncio.run(world.identity.appoint(name, admin=admin))


def test_every_admin_route_answers_a_stranger_401_and_a_user_403(world: World) -> None:
    """Generated from the API's own description: a new route is in the matrix by being there."""
    routes = admin_routes(world)
    assert ("GET", "/api/health") in routes
    for method, path in routes:
        assert world.ask(method, path).status == 401, path
        for user in (world.ada, world.bob):
            refused = world.ask(method, path, token=user)
            assert (refused.status, refused.code) == (403, "admin_only"), path
            assert b"sections" not in refused.body
        assert world.ask(method, path, token=world.chief).status < 400, path


def test_a_demotion_takes_effect_on_an_open_session_at_its_next_request(world: World) -> None:
    assert world.ask("GET", "/api/health", token=world.bob).status == 403
    appoint(world, "bob", admin=True)
    assert world.ask("GET", "/api/health", token=world.bob).status == 200
    appoint(world, "bob", admin=False)
    assert world.ask("GET", "/api/health", token=world.bob).status == 403


def test_an_administrator_sees_no_more_of_others_than_any_user(world: World) -> None:
    body = {"type": "chat", "id": "of-ada", "payload": {"text": "mine"}}
    receipt = world.ask("POST", "/api/commands", body, token=world.ada).json
    path = f"/api/threads/{receipt['thread_id']}"
    assert world.ask("GET", path, token=world.ada).status == 200
    assert world.ask("GET", path, token=world.chief).status == 404


def test_users_hear_what_they_notice_and_nothing_of_the_inside(tmp_path: Path) -> None:
    async def troubled() -> Sections:
        return with_(
            tiers=(TierHealth("hot", TierState.DOWN, "valkey at 10.1.2.3 refused", None, ""),),
            tool_servers=(ToolServerHealth("crm", "down", "exit status 1"),),
            parts=(PartHealth("feed", 1, 1.0),),
        )

    with running(tmp_path, troubled) as world:
        assert world.ask("GET", "/api/status").status == 401
        told = world.ask("GET", "/api/status", token=world.ada).json
        assert (told["state"], told["admin"]) == ("degraded", False)
        assert [notice["code"] for notice in told["notices"]] == ["tier_hot", "tool_servers_down"]
        assert not {"valkey", "10.1.2.3", "crm", "exit", "feed"} & set(str(told).split())
        seen = world.ask("GET", "/api/health", token=world.chief).json
        assert [c["code"] for c in seen["concerns"]] == [
            "tier_hot",
            "tool_servers_down",
            "parts_crashed",
        ]
        assert seen["sections"]["tiers"][0]["detail"] == "valkey at 10.1.2.3 refused"
        assert world.ask("GET", "/api/status", token=world.chief).json["admin"] is True
        metrics = world.ask("GET", "/metrics").body.decode()
        assert 'tidings_concern{code="tier_hot",state="degraded"} 1.0' in metrics


def test_when_all_is_well_users_hear_nothing(world: World) -> None:
    told = world.ask("GET", "/api/status", token=world.ada).json
    assert told == {"state": "ok", "notices": [], "admin": False}
