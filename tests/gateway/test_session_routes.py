"""Signing in and out over HTTP."""

import pytest

from tests.gateway.world import PASSWORD, World


def test_a_login_opens_everything_and_a_logout_shuts_it_at_once(world: World) -> None:
    login = world.ask("POST", "/api/login", {"username": "ada", "password": PASSWORD})
    assert login.status == 200
    assert set(login.json) == {"access_token", "expires_in", "refresh_token"}
    token = login.json["access_token"]
    assert world.ask("GET", "/api/threads", token=token).status == 200
    ticket = world.ask("POST", "/api/ws-ticket", token=token)
    assert ticket.json["expires_in"] == 30
    assert world.ask("POST", "/api/logout", token=token).status == 204
    assert world.ask("GET", "/api/threads", token=token).code == "session_revoked"
    refused = world.ask("POST", "/api/refresh", {"refresh_token": login.json["refresh_token"]})
    assert (refused.status, refused.code) == (401, "token_invalid")


def test_a_refresh_brings_new_credentials(world: World) -> None:
    login = world.ask("POST", "/api/login", {"username": "ada", "password": PASSWORD})
    fresh = world.ask("POST", "/api/refresh", {"refresh_token": login.json["refresh_token"]})
    assert world.ask("GET", "/api/files", token=fresh.json["access_token"]).status == 200


def test_wrong_credentials_get_one_answer_and_then_a_time_to_wait(world: World) -> None:
    def attempt(name: str, **headers: str) -> object:
        answer = world.ask(
            "POST",
            "/api/login",
            {"username": name, "password": "wrong horse"},
            headers=list(headers.items()),
        )
        assert answer.code in {"credentials_wrong", "too_many_attempts"}
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json["retry_after_ms"] > 0
        return answer.json | {"request_id": ""}

    assert attempt("bob") == attempt("nobody-1")
    statuses = [attempt("nobody-2", **{"X-Forwarded-For": f"9.9.9.{n}"}) for n in range(11)]
    assert [status["status"] for status in statuses] == [401] * 10 + [429]  # type: ignore[index]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "unauthenticated"),
        ([("Authorization", "")], "unauthenticated"),
        ([("Authorization", "Basic YWRhOng=")], "unauthenticated"),
        ([("Authorization", "Bearer")], "token_invalid"),
        ([("Authorization", "Bearer x.y.z")], "token_invalid"),
        ([("Authorization", "Bearer " + "a" * 9000)], "token_invalid"),
        ([("Authorization", b"Bearer \xff\xfe".decode("latin-1"))], "token_invalid"),
        ([("X-API-Key", "{token}")], "unauthenticated"),
        ([("Cookie", "token={token}")], "unauthenticated"),
        ([("X-User-Id", "ada"), ("X-Forwarded-User", "ada")], "unauthenticated"),
    ],
)
def test_there_is_one_way_in_and_everything_else_is_401(
    world: World, headers: list[tuple[str, str]], code: str
) -> None:
    given = [(name, value.replace("{token}", world.ada)) for name, value in headers]
    answer = world.ask("GET", "/api/threads", headers=given)
    assert (answer.status, answer.code) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorization_headers_are_ambiguous_even_when_both_are_good(world: World) -> None:
    both = [("Authorization", f"Bearer {token}") for token in (world.ada, world.bob)]
    answer = world.ask("GET", "/api/threads", headers=both)
    assert (answer.status, answer.code) == (400, "ambiguous_credentials")


@pytest.mark.parametrize("name", ["token", "access_token", "Ticket", "t%6fken"])
@pytest.mark.parametrize("path", ["/api/threads", "/", "/nowhere", "/livez"])
def test_a_token_in_the_address_is_refused_even_beside_a_good_one(
    world: World, name: str, path: str
) -> None:
    answer = world.ask("GET", f"{path}?x=1&{name}={world.ada}", token=world.ada)
    assert (answer.status, answer.code) == (400, "token_in_url")
    assert world.ada.encode() not in answer.body
