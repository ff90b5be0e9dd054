"""Who is there, who is gone, and what that means: by what nodes have told and when."""

from dataclasses import replace
from itertools import count

import msgspec
import pytest

from tests.fakes.sections import WELL, with_
from tidings.domain.tiers import TierHealth, TierState
from tidings.health.judgement import (
    CONCERNS_TOLD_MAX,
    DETAIL_CHARACTERS_MAX,
    judge,
    report_of,
)
from tidings.health.nodes import GONE_SECONDS, Heard, Node, NodeReport, replaced, room, standing
from tidings.health.overview import AgentHealth, Concern, NodeHealth, ToolServerHealth

NOW = 1_000_000.0
EVER = float("-inf")
BYTES_MAX = 6 * 1024
OLD = GONE_SECONDS + 1.0
SLOW = Concern("models_resting", TierState.DEGRADED, "openai:m (model_timeout)", "By rules.")
numbers = count()


def heard(
    role: str,
    silent_seconds: float = 1.0,
    *,
    up_seconds: float = 900.0,
    report: NodeReport | None = None,
) -> Heard:
    """Return a node of a role that was heard so long ago, and began so long ago."""
    name = f"{role}{next(numbers)}"
    node = Node(f"n_{name}", name, role, "0.1.0", NOW - up_seconds)
    plain = NodeReport(room=0 if role == "gateway" else 16)
    return Heard(node, NOW - silent_seconds, report or plain)


def stand(*nodes: Heard, since: float = EVER) -> tuple[NodeHealth, ...]:
    over = replaced(nodes, NOW, since)
    left = [node for node in nodes if node.node.node_id not in over]
    return standing(left, nodes[0].node.node_id, NOW, since)


def states(nodes: tuple[NodeHealth, ...]) -> list[str]:
    return [node.state for node in nodes]


def concerns(*nodes: Heard) -> list[Concern]:
    return list(judge(with_(nodes=stand(*nodes)), NOW)[2])


def test_a_node_that_is_silent_for_long_is_gone_and_its_room_with_it() -> None:
    nodes = stand(heard("gateway"), heard("worker"), heard("worker", OLD))
    assert states(nodes) == ["up", "up", "gone"]
    assert room(nodes) == 16
    assert [node.is_this for node in nodes] == [True, False, False]


def test_silence_counts_only_while_somebody_listened() -> None:
    both = (heard("gateway"), heard("worker", 10 * OLD))
    assert states(stand(*both, since=NOW - 5.0)) == ["up", "up"]
    assert states(stand(*both, since=NOW - OLD)) == ["up", "gone"]


def test_a_node_that_stops_is_no_more_counted_on() -> None:
    nodes = stand(heard("gateway"), heard("worker", report=NodeReport(draining=True, room=16)))
    assert states(nodes) == ["up", "stopping"]
    assert room(nodes) == 0


@pytest.mark.parametrize(
    ("others", "left"),
    [
        ([heard("worker", 60.0), heard("worker", up_seconds=50.0)], ["up"]),
        ([heard("worker", 60.0), heard("worker", up_seconds=70.0)], ["gone", "up"]),
        ([heard("worker", 60.0), heard("gateway", up_seconds=50.0)], ["up", "gone"]),
        (
            [
                heard("worker", 600.0),
                heard("worker", 300.0, up_seconds=500.0),
                heard("worker", up_seconds=200.0),
            ],
            ["up"],
        ),
        ([heard("worker", 600.0), heard("worker", 300.0), heard("worker", up_seconds=9.0)], 2),
    ],
    ids=["began since", "was there before", "of another role", "a chain", "one for two"],
)
def test_who_began_since_stands_in_the_place_of_one_that_is_gone(
    others: list[Heard], left: list[str] | int
) -> None:
    nodes = stand(heard("gateway"), *others)[1:]
    assert (len(nodes) if isinstance(left, int) else sorted(states(nodes))) == (
        left if isinstance(left, int) else sorted(left)
    )


def test_of_two_workers_one_is_gone_and_the_other_goes_on() -> None:
    [concern] = concerns(heard("gateway"), heard("worker"), lost := heard("worker", 35.0))
    assert (concern.code, concern.state) == ("nodes_gone", TierState.DEGRADED)
    name = lost.node.name
    assert concern.detail == (
        f"1 of 2 workers is gone ({name}, silent for 35 s): runs go on at the other"
    )
    assert concern.users == "Answers may take longer than usual."


def test_a_gateway_that_is_gone_is_noticed_by_nobody() -> None:
    [concern] = concerns(heard("gateway"), heard("gateway", OLD), heard("worker"))
    assert concern.code == "nodes_gone"
    assert concern.users == ""


def test_a_fleet_without_a_worker_is_down_and_users_hear_that_they_wait() -> None:
    for rest in ((), (heard("worker", OLD),)):
        nodes = stand(heard("gateway"), *rest)
        state, meaning, [concern] = judge(with_(nodes=nodes), NOW)
        assert (state, concern.code) == (TierState.DOWN, "no_worker")
        assert "nobody works" in meaning
        assert "waits" in concern.users


def test_what_another_node_has_told_is_said_once_with_its_name() -> None:
    told = NodeReport(room=16, concerns=(SLOW,))
    others = [heard("worker", report=told) for _ in range(5)]
    [concern] = concerns(heard("gateway"), *others)
    assert (concern.code, concern.users) == ("models_resting", "By rules.")
    assert concern.detail.count("model_timeout") == 3
    assert concern.detail.endswith("; and 2 more")


def test_who_has_something_else_that_should_be_the_same_is_named() -> None:
    mine, same = {"agents": "a", "plans": "p"}, {"agents": "a", "times": "t"}
    others = [heard("worker", report=NodeReport(room=16, alike=alike)) for alike in (mine, same)]
    gateway = heard("gateway", report=NodeReport(alike=mine))
    assert concerns(gateway, *others) == []
    odd = heard("worker", report=NodeReport(room=16, alike={"agents": "b", "plans": "q"}))
    [concern] = concerns(gateway, *others, odd)
    assert (concern.code, concern.users) == ("nodes_differ", "")
    name = gateway.node.name
    assert concern.detail == f"{odd.node.name} has other agents, plans than {name}"
    newer = replace(odd, node=replace(odd.node, version="0.2.0"))
    assert concerns(gateway, *others, newer) == []


def test_what_takes_one_node_down_does_not_take_all() -> None:
    full = Concern("disk_full", TierState.DOWN, "1 MiB free", "")
    report = NodeReport(room=16, concerns=(full,))
    [concern] = concerns(heard("gateway"), heard("worker", report=report))
    assert (concern.code, concern.state) == ("disk_full", TierState.DEGRADED)


def test_what_is_known_here_or_was_told_by_the_dead_is_not_said_again() -> None:
    told = NodeReport(room=16, concerns=(SLOW,))
    nodes = stand(heard("gateway", report=told), heard("worker"))
    assert judge(with_(nodes=nodes), NOW)[2] == ()
    gone = concerns(heard("gateway"), heard("worker"), heard("worker", OLD, report=told))
    assert [concern.code for concern in gone] == ["nodes_gone"]


def test_a_process_tells_what_others_cannot_know_within_bounds() -> None:
    servers = tuple(ToolServerHealth(f"s{n}", "down", "\udcff" + "x" * 99) for n in range(9))
    tiers = tuple(TierHealth(f"t{n}", TierState.DOWN, "away", None, "") for n in range(20))
    rests = (AgentHealth("a", False, 9, 9, 3, ()),)
    here = with_(draining=True, tool_servers=servers, tiers=tiers, agents=rests)
    report = report_of(here, room=16, running=3, alike={})
    assert report.draining
    assert (report.room, report.running, len(report.tiers)) == (16, 3, 20)
    assert len(report.concerns) == CONCERNS_TOLD_MAX
    assert all(len(concern.detail) <= DETAIL_CHARACTERS_MAX for concern in report.concerns)
    assert len(msgspec.json.encode(report)) < BYTES_MAX
    told = report_of(replace(here, tiers=()), 16, 3, {}).concerns
    assert [concern.code for concern in told] == ["tool_servers_down"]
    assert report_of(WELL, 16, 0, {}).concerns == ()
