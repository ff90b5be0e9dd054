"""Whom one can ask, over HTTP; that it is for the signed-in is in the matrix of all routes."""

from tests.gateway.world import World


def test_whoever_is_signed_in_sees_the_agents_and_which_is_the_default(world: World) -> None:
    told = {"description": "A test's.", "well": True}
    agents = [
        {"name": "analysis", **told, "default": True},
        {"name": "clerk", **told, "default": False},
    ]
    assert world.ask("GET", "/api/agents", token=world.ada).json == {"agents": agents}
    assert world.ask("GET", "/api/agents").code == "unauthenticated"
