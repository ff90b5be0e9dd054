"""What is for administrators is refused to everybody else, at every request anew."""

import asyncio

from tests.gateway.world import World


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
            assert b"checks" not in refused.body
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
