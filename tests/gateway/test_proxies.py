"""Behind a balancer each client has a sign-in limit of its own, and none can borrow another's."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.gateway.world import World, running
from tidings.identity.attempts import _BY_PEER, FAILED_PER_PEER

GUESSED, OTHER = "203.0.113.7", "203.0.113.9"
WRONG = {"username": "nobody", "password": "wrong horse"}
HERE = "127.0.0.1"

Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server behind a balancer, where one client has guessed for as often as it may."""
    with running(tmp_path_factory.mktemp("server"), proxies=HERE) as world:
        spend(world, GUESSED)
        yield world


def spend(world: World, address: str) -> None:
    async def take() -> None:
        for _ in range(FAILED_PER_PEER):
            await world.identity._attempts._rates.take(_BY_PEER, address)

    asyncio.run(take())


def attempt(world: World, headers: Headers) -> str:
    return str(world.ask("POST", "/api/login", WRONG, headers=headers).code)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("X-Forwarded-For", GUESSED)], "too_many_attempts"),
        ([("X-Forwarded-For", f"{OTHER}, {GUESSED}")], "too_many_attempts"),
        ([("X-Forwarded-For", OTHER), ("X-Forwarded-For", GUESSED)], "too_many_attempts"),
        ([("Forwarded", f"for={OTHER}, for={GUESSED}")], "too_many_attempts"),
        ([("X-Forwarded-For", OTHER)], "credentials_wrong"),
        ([("X-Forwarded-For", f"{GUESSED}, {OTHER}")], "credentials_wrong"),
        ([("X-Real-IP", GUESSED)], "credentials_wrong"),
        ([], "credentials_wrong"),
    ],
)
def test_an_attempt_counts_for_who_the_balancer_says_it_is(
    behind: World, headers: Headers, code: str
) -> None:
    assert attempt(behind, headers) == code


def test_without_a_trusted_proxy_nothing_that_is_said_counts(world: World) -> None:
    spend(world, GUESSED)
    assert attempt(world, [("X-Forwarded-For", GUESSED)]) == "credentials_wrong"


def test_no_header_makes_a_request_one_from_this_machine(behind: World) -> None:
    assert behind.ask("GET", "/metrics").status == 200
    for header in ("X-Forwarded-For", "Forwarded"):
        said = HERE if header == "X-Forwarded-For" else f"for={HERE}"
        assert behind.ask("GET", "/metrics", headers=[(header, said)]).status == 401
