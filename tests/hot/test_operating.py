"""What the operator's guide says of the hot tier is so."""

import asyncio
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from tests.faults.devices import eventually
from tests.harness.server import ENVIRONMENT, ROOT, ServerProcess, add_users
from tests.harness.valkey import ValkeyServer
from tests.hot.tiers import Called, Told, on_server
from tidings.app import build
from tidings.domain.errors import InvalidInput
from tidings.domain.tiers import TierState
from tidings.settings import load

GUIDE = ROOT / "docs" / "operations.md"

pytestmark = pytest.mark.usefixtures("patient")


@pytest.mark.parametrize(
    "url",
    ["localhost:6379", "http://localhost", "redis://me:se/cret@localhost", "valkeyx://h", "x"],
)
def test_an_address_that_is_none_is_refused_without_saying_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput, match="TIDINGS_HOT_URL must be") as refused:
        build(load({"data_dir": tmp_path, "hot_url": url}))
    assert refused.value.code == "bad_setting"
    assert "se" + "cret" not in repr(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


def test_the_rights_that_the_guide_gives_are_enough_and_none_too_many(valkey: ValkeyServer) -> None:
    found = re.search(r"ACL SETUSER tidings on >\.\.\. ([^`]+)`", GUIDE.read_text())
    assert found is not None
    valkey.control.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "tidings", "reset", "on", ">word", *found[1].split()
    )

    async def scenario() -> None:
        url = f"redis://tidings:word@127.0.0.1:{valkey.port}"
        fates: Counter[str] = Counter()
        async with on_server(url) as one, on_server(url, fates=fates) as two:
            heard: list[Told | Called] = []
            two.hints.hear(Told, heard.append)
            two.hints.hear(Called, heard.append)
            two.hints.attend("u_1")
            two.hints.leave("u_1")
            two.hints.attend("u_1")
            channel = two.hints._channel_of_user("u_1")
            await eventually(lambda: channel in valkey.control.pubsub_channels())
            one.hints.publish(Told("u_1", 1))
            one.hints.publish(Called(2))
            await eventually(lambda: len(heard) == 2)
            assert (await one.health()).state is TierState.OK
            assert await one.once.first("t", 30)
            assert not await two.once.first("t", 30)
            assert await one.precedence.claim("d") < await two.precedence.claim("d")
        with Redis(port=valkey.port, username="tidings", password="word") as stranger:
            for denied in ("FLUSHALL", "KEYS *", "SUBSCRIBE other", "GET other", "CONFIG GET save"):
                with pytest.raises(NoPermissionError):
                    stranger.execute_command(*denied.split())

    try:
        asyncio.run(scenario())
    finally:
        valkey.control.acl_deluser("tidings")


def test_without_its_scripts_the_tier_is_degraded_and_hints_go_on(valkey: ValkeyServer) -> None:
    valkey.control.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "poor", "reset", "on", ">word", "~*", "&*", "+@all", "-eval"
    )

    async def scenario() -> None:
        url = f"redis://poor:word@127.0.0.1:{valkey.port}"
        async with on_server(url) as one, on_server(url) as two:
            heard: list[Called] = []
            two.hints.hear(Called, heard.append)
            health = await one.health()
            assert (health.state, "eval" in health.detail) == (TierState.DEGRADED, True)
            await eventually(lambda: len(valkey.control.pubsub_channels()) == 1)
            one.hints.publish(Called(1))
            await eventually(lambda: heard == [Called(1)])

    try:
        asyncio.run(scenario())
    finally:
        valkey.control.acl_deluser("poor")


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("", "it refuses the user or the password of TIDINGS_HOT_URL"),
        ("poor:wrong@", "it refuses the user or the password of TIDINGS_HOT_URL"),
        ("poor:word@", "not subscribed: the user's rights are not enough"),
    ],
)
def test_who_is_not_let_in_or_may_not_listen_is_told_why(
    valkey: ValkeyServer, user: str, told: str
) -> None:
    control = valkey.control
    control.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "poor", "reset", "on", ">word", "~*", "resetchannels", "+@all"
    )
    url = f"redis://{user}127.0.0.1:{valkey.port}"

    async def scenario() -> None:
        control.config_set("requirepass", "secret")
        try:
            async with on_server(url, ready=False) as tier:
                tier.hints.hear(Called, lambda note: None)
                await eventually(lambda: tier.hints.fault != "not yet")
                assert await tier.once.first("a ticket", 30)
                health = await tier.health()
                assert health.state is not TierState.OK
                assert health.detail.startswith(told)
                assert "wrong" not in health.detail
        finally:
            control.config_set("requirepass", "")

    try:
        asyncio.run(scenario())
    finally:
        control.acl_deluser("poor")


def test_a_replica_is_no_primary_and_that_is_said(valkey: ValkeyServer) -> None:
    async def scenario() -> None:
        async with on_server(valkey.url) as tier:
            valkey.control.replicaof("127.0.0.1", "1")
            try:
                assert await tier.once.first("a ticket", 30)
                health = await tier.health()
                assert health.state is not TierState.OK
                assert "a replica, which takes no writes" in health.detail
            finally:
                valkey.control.replicaof("NO", "ONE")

    asyncio.run(scenario())


def test_a_server_with_a_hot_tier_works_on_while_it_dies(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    async def scenario(server: ServerProcess) -> None:
        (ana,) = await add_users(server, "ana")
        await eventually(lambda: bool(valkey.connections("tidings")))
        async with ana.connected() as client:
            for number, fault in enumerate((None, valkey.kill, valkey.start)):
                if fault is not None:
                    fault()
                accepted = await client.ask("hello", f"m{number}")
                told = await client.until_end(accepted["run_id"])
                assert told[-1]["type"] == "agent_completed"
        await eventually(lambda: bool(valkey.connections("tidings")))

    server = ServerProcess(tmp_path)
    server.extra = {"TIDINGS_HOT_URL": valkey.url}
    server.start()
    try:
        asyncio.run(scenario(server))
    finally:
        assert server.stop() == 0


def test_a_server_on_embedded_defaults_loads_no_client_of_a_hot_tier() -> None:
    program = "import sys, tidings.app, tidings.cli.main; print('redis' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout == "False\n"
