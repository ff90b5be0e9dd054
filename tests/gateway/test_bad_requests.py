"""Whatever arrives, the answer is a problem that names the fault, and the server is unharmed."""

import json

import pytest

from tests.gateway.world import World

JSON = [("Content-Type", "application/json")]
LOGIN = b'{"username":"ada","password":"x"}'
BODIES = {
    "empty": (b"", 422, "invalid_field"),
    "null": (b"null", 422, "invalid_field"),
    "list": (b"[]", 422, "invalid_field"),
    "scalar": (b"7", 422, "invalid_field"),
    "not json": (b"{", 400, "bad_json"),
    "two values": (b"{}{}", 400, "bad_json"),
    "deep": (b"[" * 100_000, 400, "bad_json"),
    "deep but closed": (b"[" * 40 + b"]" * 40, 400, "bad_json"),
    "NaN": (b'{"username":NaN}', 400, "bad_json"),
    "huge number": (b'{"username":' + b"9" * 5_000 + b"}", 400, "bad_json"),
    "key twice": (b'{"username":"a","username":"b"}', 400, "bad_json"),
    "not UTF-8": (b'{"username":"\xff"}', 400, "bad_json"),
    "NUL": (b'{"username":"a\\u0000b","password":"x"}', 422, "invalid_text"),
    "half a character": (b'{"username":"\\ud800","password":"x"}', 422, "invalid_text"),
    "NUL in a key": (b'{"a\\u0000":1}', 422, "invalid_text"),
    "missing field": (b'{"username":"ada"}', 422, "invalid_field"),
    "wrong type": (b'{"username":1,"password":"x"}', 422, "invalid_field"),
    "unknown field": (LOGIN.replace(b"}", b',"role":"admin"}'), 422, "unknown_field"),
    "too long": (json.dumps({"username": "x" * 257, "password": "x"}).encode(), 422, None),
    "too big": (b" " * (256 * 1024) + LOGIN, 413, "body_too_large"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_bad_body_is_refused_by_its_fault(
    world: World, body: bytes, status: int, code: str | None
) -> None:
    answer = world.ask("POST", "/api/login", body)
    assert (answer.status, answer.code) == (status, code or answer.code)


@pytest.mark.parametrize("path", ["/api/login", "/api/refresh", "/api/threads", "/api/commands"])
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"{}"])
def test_no_route_breaks_on_a_body_that_is_nothing(world: World, path: str, body: bytes) -> None:
    answer = world.ask("POST", path, body, token=world.ada)
    assert answer.status == 422
    assert answer.code


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "*/*"])
def test_json_must_say_that_it_is_json(world: World, kind: str) -> None:
    answer = world.ask("POST", "/api/login", LOGIN, headers=[("Content-Type", kind)])
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_a_body_without_length_is_bounded_too(world: World) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = (
        b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert b" 413 " in world.raw(head + chunk * 5 + b"0\r\n\r\n").split(b"\r\n")[0]


def test_unknown_addresses_and_methods_are_problems_too(world: World) -> None:
    assert world.ask("GET", "/nowhere").code == "not_found"
    assert world.ask("GET", "/api/threads/", token=world.ada).code == "not_found"
    for method in ("PUT", "TRACE", "OPTIONS", "PATCH"):
        answer = world.ask(method, "/api/login")
        assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert world.raw(b"BREW /api/login HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert world.ask("DELETE", "/api/login").headers["allow"] == "POST"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1e9", "limit=100000", "before=" + "x" * 200]
)
def test_bad_parameters_are_named(world: World, query: str) -> None:
    answer = world.ask("GET", f"/api/threads?{query}", token=world.ada)
    assert (answer.status, answer.code) == (422, "invalid_field")
    assert query.partition("=")[0] in answer.json["detail"]


def test_an_unforeseen_fault_says_nothing_but_its_request_id(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    answer = world.ask("GET", "/api/reports/broken", token=world.ada)
    assert (answer.status, answer.code) == (500, "internal")
    assert b"secret detail" not in answer.body
    assert answer.json["request_id"] in caplog.text
    assert "secret detail" in caplog.text


def test_every_answer_carries_the_security_headers(world: World) -> None:
    for path in ("/", "/page.js", "/api/threads", "/nowhere", "/livez", "/openapi.json"):
        headers = world.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-request-id"].startswith("req_")
    assert world.ask("GET", "/api/threads").headers["cache-control"] == "no-store"


def test_the_documentation_is_data_not_a_page_that_loads_scripts(world: World) -> None:
    assert world.ask("GET", "/docs").status == 404
    paths = world.ask("GET", "/openapi.json").json["paths"]
    assert {"/api/login", "/api/files", "/api/commands", "/api/streams/{stream}/events"} <= set(
        paths
    )
