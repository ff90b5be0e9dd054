"""Signing in, staying in, and being out at once."""

import asyncio
from collections.abc import Awaitable

import pytest

from tests.identity.conftest import World
from tidings.domain.errors import Conflict, InvalidInput, LimitExceeded, NotFound, Unauthenticated
from tidings.identity.attempts import FAILED_PER_ACCOUNT, FAILED_PER_PEER, WINDOW_SECONDS
from tidings.identity.service import SESSION_TTL_SECONDS, Credentials
from tidings.identity.tokens import TICKET_TTL_SECONDS

PASSWORD = "correct horse"


async def sign_in(world: World, name: str = "ada") -> Credentials:
    await world.identity.add_user(name, PASSWORD)
    return await world.identity.login(name, PASSWORD, peer="1.1.1.1")


async def refusal(attempt: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(Unauthenticated) as refused:
        await attempt
    return refused.value.code, refused.value.message


def test_the_token_of_a_login_names_the_user_who_logged_in(world: World) -> None:
    async def scenario() -> None:
        await world.identity.add_user("bob", PASSWORD)
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        users = {user.name: user.user_id for user in await world.identity.list_users()}
        assert context.user_id == users["ada"]
        assert context.session_id.startswith("ses_")
        ends = world.identity.expires_at(credentials.access_token)
        assert ends == int(world.clock.now()) + credentials.expires_in

    asyncio.run(scenario())


def test_wrong_password_unknown_disabled_and_absurd_users_get_the_same_answer(world: World) -> None:
    async def scenario() -> None:
        await sign_in(world)
        await world.identity.add_user("gone", PASSWORD)
        await world.identity.disable_user("gone")
        answers = {
            await refusal(world.identity.login(name, password, peer="1.1.1.1"))
            for name, password in [
                ("ada", "wrong horse"),
                ("ada", ""),
                ("ada", "x" * 100_000),
                ("ada", "\ud800" * 9),
                ("nobody", PASSWORD),
                ("gone", PASSWORD),
                ("' or 1=1 --", PASSWORD),
                ("a\0b", PASSWORD),
            ]
        }
        assert len(answers) == 1

    asyncio.run(scenario())


def test_an_account_under_attack_is_closed_to_guesses_from_everywhere(world: World) -> None:
    async def scenario() -> None:
        await sign_in(world)
        for number in range(FAILED_PER_ACCOUNT):
            await refusal(world.identity.login("ada", "wrong horse", peer=f"10.0.0.{number}"))
        with pytest.raises(LimitExceeded) as limit:
            await world.identity.login("ada", PASSWORD, peer="10.9.9.9")
        assert limit.value.code == "too_many_attempts"
        assert limit.value.retry_after_seconds == pytest.approx(WINDOW_SECONDS / FAILED_PER_ACCOUNT)
        world.clock.advance(limit.value.retry_after_seconds or 0)
        await world.identity.login("ada", PASSWORD, peer="10.9.9.9")

    asyncio.run(scenario())


def test_one_address_cannot_try_one_password_on_every_account(world: World) -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(FAILED_PER_PEER // 2):
                for name in (f"a{number}", f"b{number}"):
                    attempt = world.identity.login(name, "x" * 1_000, peer="6.6.6.6")
                    group.create_task(refusal(attempt))
        with pytest.raises(LimitExceeded):
            await world.identity.login("fresh", PASSWORD, peer="6.6.6.6")

    asyncio.run(scenario())


def test_successful_logins_do_not_use_up_the_attempts(world: World) -> None:
    async def scenario() -> None:
        await sign_in(world)
        for _ in range(FAILED_PER_ACCOUNT + 2):
            await world.identity.login("ada", PASSWORD, peer="1.1.1.1")

    asyncio.run(scenario())


def test_a_refresh_token_works_once_and_brings_its_successor(world: World) -> None:
    async def scenario() -> None:
        first = await sign_in(world)
        second = await world.identity.refresh(first.refresh_token)
        third = await world.identity.refresh(second.refresh_token)
        assert len({c.refresh_token for c in (first, second, third)}) == 3
        context = await world.identity.authenticate(third.access_token)
        assert context == await world.identity.authenticate(first.access_token)

    asyncio.run(scenario())


def test_reusing_a_refresh_token_ends_the_session_for_thief_and_owner_alike(world: World) -> None:
    async def scenario() -> None:
        stolen = await sign_in(world)
        current = await world.identity.refresh(stolen.refresh_token)
        assert (await refusal(world.identity.refresh(stolen.refresh_token)))[0] == "token_invalid"
        assert (await refusal(world.identity.refresh(current.refresh_token)))[0] == "token_invalid"
        code, _ = await refusal(world.identity.authenticate(current.access_token))
        assert code == "session_revoked"

    asyncio.run(scenario())


@pytest.mark.parametrize("token", ["", "x", "\0", "\ud800", "x" * 100_000])
def test_an_unknown_refresh_token_is_refused(world: World, token: str) -> None:
    assert asyncio.run(refusal(world.identity.refresh(token)))[0] == "token_invalid"


def test_logout_ends_token_refresh_and_ticket_at_once_and_other_sessions_live(world: World) -> None:
    async def scenario() -> None:
        here = await sign_in(world)
        there = await world.identity.login("ada", PASSWORD, peer="2.2.2.2")
        context = await world.identity.authenticate(here.access_token)
        ticket = world.identity.ticket(context)
        await world.identity.logout(context)
        for attempt in (
            world.identity.authenticate(here.access_token),
            world.identity.check(context),
            world.identity.redeem(ticket),
        ):
            assert (await refusal(attempt))[0] == "session_revoked"
        assert (await refusal(world.identity.refresh(here.refresh_token)))[0] == "token_invalid"
        await world.identity.authenticate(there.access_token)

    asyncio.run(scenario())


def test_disabling_a_user_ends_every_session_and_forbids_new_ones(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        await world.identity.disable_user("ada")
        assert (await refusal(world.identity.check(context)))[0] == "session_revoked"
        assert (await refusal(world.identity.authenticate(credentials.access_token)))[0] == (
            "session_revoked"
        )
        assert await refusal(world.identity.refresh(credentials.refresh_token))
        with pytest.raises(NotFound):
            await world.identity.issue_token("ada")

    asyncio.run(scenario())


def test_who_is_an_administrator_is_looked_up_and_not_carried_along(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        assert not await world.identity.is_admin(context)
        await world.identity.appoint("ada", admin=True)
        assert await world.identity.is_admin(context)
        assert [user.admin for user in await world.identity.list_users()] == [True]
        await world.identity.appoint("ada", admin=False)
        assert not await world.identity.is_admin(context)
        await world.identity.appoint("ada", admin=True)
        await world.identity.disable_user("ada")
        assert not await world.identity.is_admin(context)
        with pytest.raises(NotFound):
            await world.identity.appoint("nobody", admin=True)

    asyncio.run(scenario())


def test_a_user_may_be_an_administrator_from_the_start(world: World) -> None:
    user = asyncio.run(world.identity.add_user("root", PASSWORD, admin=True))
    assert user.admin


def test_a_session_ends_by_itself_after_its_lifetime(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        world.clock.advance(SESSION_TTL_SECONDS - 1)
        await world.identity.check(context)
        world.clock.advance(1)
        assert (await refusal(world.identity.check(context)))[0] == "session_revoked"
        assert await refusal(world.identity.refresh(credentials.refresh_token))

    asyncio.run(scenario())


def test_a_well_signed_token_of_a_session_that_never_was_is_refused(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        claims = world.tokens.verify(credentials.access_token, world.clock.now()).context()
        for context in (
            type(claims)("default", claims.user_id, "ses_other"),
            type(claims)("default", "u_other", claims.session_id),
            type(claims)("other", claims.user_id, claims.session_id),
        ):
            forged = world.tokens.issue(context, "jti", world.clock.now())
            assert (await refusal(world.identity.authenticate(forged)))[0] == "session_revoked"

    asyncio.run(scenario())


def test_of_many_racing_uses_of_a_ticket_exactly_one_succeeds(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        ticket = world.identity.ticket(context)
        won: list[object] = []
        lost: list[str] = []

        async def use() -> None:
            try:
                won.append(await world.identity.redeem(ticket))
            except Unauthenticated as refused:
                lost.append(refused.code)

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(use())
        assert won == [context]
        assert lost == ["token_invalid"] * 9

    asyncio.run(scenario())


def test_a_ticket_is_no_token_and_a_token_is_no_ticket(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        for attempt in (
            world.identity.authenticate(world.identity.ticket(context)),
            world.identity.redeem(credentials.access_token),
            world.identity.redeem(""),
        ):
            assert (await refusal(attempt))[0] == "token_invalid"

    asyncio.run(scenario())


def test_a_ticket_is_good_for_thirty_seconds(world: World) -> None:
    async def scenario() -> None:
        credentials = await sign_in(world)
        context = await world.identity.authenticate(credentials.access_token)
        early, late = world.identity.ticket(context), world.identity.ticket(context)
        world.clock.advance(TICKET_TTL_SECONDS - 1)
        assert await world.identity.redeem(early) == context
        world.clock.advance(2)
        assert (await refusal(world.identity.redeem(late)))[0] == "token_invalid"

    asyncio.run(scenario())


def test_the_operator_gets_a_token_without_a_password(world: World) -> None:
    async def scenario() -> None:
        user = await world.identity.add_user("ada", PASSWORD)
        token = await world.identity.issue_token("ada")
        assert (await world.identity.authenticate(token)).user_id == user.user_id
        with pytest.raises(NotFound):
            await world.identity.issue_token("bob")

    asyncio.run(scenario())


def test_unfit_names_and_passwords_are_refused_and_a_name_is_given_once(world: World) -> None:
    async def scenario() -> None:
        for name in ("", "a b", "a\nb", "é", "x" * 65, "-a", "<b>"):
            with pytest.raises(InvalidInput, match="A name has"):
                await world.identity.add_user(name, PASSWORD)
        for password in ("short", "x" * 257, "\ud800" * 10):
            with pytest.raises(InvalidInput, match="A password has"):
                await world.identity.add_user("ada", password)
        await world.identity.add_user("ada", PASSWORD)
        with pytest.raises(Conflict):
            await world.identity.add_user("ada", PASSWORD)
        with pytest.raises(NotFound):
            await world.identity.disable_user("bob")

    asyncio.run(scenario())
