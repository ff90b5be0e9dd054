"""Chains of models: who is asked, when again, who answers instead, and what the user is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.agents.asking import ask
from tests.fakes.models import says
from tests.fakes.ports import ManualClock
from tests.fakes.toolbox import PLANTED
from tests.fakes.watch import RememberingWatch, hasty_chain
from tests.world import payloads, world
from tidings.domain.events import Event
from tidings.domain.runs import Outcome
from tidings.models import faults
from tidings.models.chain import Chain, ChainRules
from tidings.models.complaints import COMPLAINT_SECONDS_MIN
from tidings.models.faults import Blame, ModelFault
from tidings.models.patience import TimeLimits
from tidings.models.planner import PLANNER, Planner
from tidings.models.port import ModelReply, ModelRequest, OnText, Usage, unseen
from tidings.resilience.breaker import BreakerRules
from tidings.resilience.bulkhead import BulkheadRules
from tidings.resilience.retry import RetryPolicy
from tidings.runs.context import RunContext

Does = ModelFault | str | None
"""What a model does with a request: raise, answer, or never end."""


class Doing:
    """A model that does one thing after another, and the last for ever."""

    def __init__(self, name: str, *does: Does, shows: str = "", takes: Usage | None = None) -> None:
        self.name = name
        self.asked = 0
        self.under_way = asyncio.Event()
        self._takes = takes or Usage()
        self._does = does
        self._shows = shows

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        does = self._does[min(self.asked, len(self._does) - 1)]
        self.asked += 1
        if self._shows:
            await on_text(self._shows)
        if does is None:
            self.under_way.set()
            await asyncio.Event().wait()
        if isinstance(does, ModelFault):
            does.usage = self._takes
            raise does
        return ModelReply(self.name, str(does), usage=Usage(10, 1, 0.001))


def down(name: str = "a:down") -> ModelFault:
    return faults.unavailable(name)


QUICK = RetryPolicy(base_seconds=0.0)
CONFIG = [
    (down(), 3),
    (faults.rate_limited("a", 0.01), 3),
    (faults.rate_limited("a", 60.0), 1),
    (faults.overloaded("a", None), 3),
    (faults.bad_reply("a"), 3),
    (faults.quota_exhausted("a"), 1),
    (faults.refused("a"), 1),
    (faults.rejected("a"), 1),
    (faults.context_too_long("a"), 1),
    (faults.auth_failed("a"), 1),
]


@pytest.mark.parametrize(("fault", "asked"), CONFIG, ids=lambda value: getattr(value, "code", ""))
def test_what_may_pass_is_asked_again_and_then_the_next_answers(
    fault: ModelFault, asked: int
) -> None:
    first, second, watch = Doing("a:m", fault), Doing("b:m", "Here"), RememberingWatch()
    reply = respond(hasty_chain(first, second, watch=watch, retry=QUICK))
    assert (reply.text, reply.model, first.asked) == ("Here", "b:m", asked)
    assert [(f.model, f.code) for f in reply.fallbacks] == [("a:m", fault.code)]
    assert watch.fell_back == {("a:m", fault.code): 1}
    assert watch.retried["a:m"] == asked - 1


def test_the_first_fault_is_told_when_nobody_answers() -> None:
    chain = hasty_chain(Doing("a:m", faults.auth_failed("a:m")), Doing("b:m", down()), retry=QUICK)
    with pytest.raises(ModelFault) as failed:
        respond(chain)
    assert failed.value.code == "model_auth_failed"


def test_a_request_that_the_planner_does_not_know_keeps_its_own_fault() -> None:
    with pytest.raises(ModelFault) as failed:
        respond(hasty_chain(Doing("a:m", down()), Planner(), retry=QUICK))
    assert failed.value.code == "model_unavailable"


def test_what_was_taken_by_failed_requests_is_counted() -> None:
    cut = Doing("a:m", faults.broke_off("a:m"), takes=Usage(7, 2, None))
    reply = respond(hasty_chain(cut, Doing("b:m", "Here"), retry=QUICK))
    assert reply.usage == Usage(10 + 3 * 7, 1 + 3 * 2, None, 4)


def test_nothing_is_asked_again_or_elsewhere_once_something_was_shown() -> None:
    first, second = Doing("a:m", down(), shows="Hel"), Doing("b:m", "Here")
    chain = hasty_chain(first, second, retry=QUICK)
    with pytest.raises(ModelFault):
        respond(chain, on_text=shown)
    assert (first.asked, second.asked) == (1, 0)
    assert respond(chain).text == "Here"
    assert (first.asked, second.asked) == (4, 1)


def test_retries_stay_a_tenth_of_the_requests_when_everything_fails() -> None:
    model = Doing("a:m", down())
    chain = hasty_chain(model, retry=QUICK, breaker=BreakerRules(calls_min=10_000))

    async def scenario() -> None:
        for _ in range(500):
            with pytest.raises(ModelFault):
                await chain.respond(says("x"), unseen)

    asyncio.run(scenario())
    assert model.asked <= 500 * 1.1 + 10


def test_what_keeps_failing_is_left_alone_and_then_tried_once() -> None:
    clock, watch = ManualClock(), RememberingWatch()
    first, second = Doing("a:m", *[down()] * 5, "Back"), Doing("b:m", "Here")
    rules = ChainRules(retry=RetryPolicy(retries_max=0))
    chain = Chain((first, second), clock, lambda: 0.0, watch, rules)
    for _ in range(8):
        assert respond(chain).model == "b:m"
    assert first.asked == 5
    assert [link.state for link in chain.health()] == ["open", "closed"]
    assert chain.health()[0].fault == "model_unavailable"
    assert watch.fell_back["a:m", "model_resting"] == 3
    clock.advance(5.0)
    assert [link.state for link in chain.health()] == ["half_open", "closed"]
    assert respond(chain).model == "a:m"
    assert chain.health()[0] == ("a:m", "closed", 0, "")


def test_a_model_that_comes_to_fail_is_complained_of_once_until_it_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, rules = ManualClock(), ChainRules(retry=RetryPolicy(retries_max=0))
    rejects = faults.auth_failed("a:m")
    does: list[Does] = [*[down()] * 5, "Back", rejects, rejects, "Back", rejects]
    chain = Chain(
        (Doing("a:m", *does), Doing("b:m", "Here")), clock, lambda: 0.0, RememberingWatch(), rules
    )

    def complaints(asked: int) -> list[str]:
        caplog.clear()
        for _ in range(asked):
            respond(chain)
        return [record.getMessage() for record in caplog.records]

    assert complaints(4) == []
    rests = "a:m fails most of the time (model_unavailable); it is left alone for now"
    assert complaints(4) == [rests]
    clock.advance(COMPLAINT_SECONDS_MIN)
    key = "a:m did not accept the key; check it. (model_auth_failed)"
    assert complaints(3) == [key]
    assert complaints(3) == []
    clock.advance(COMPLAINT_SECONDS_MIN)
    assert complaints(1) == [key]


@pytest.mark.parametrize(
    "fault", [faults.refused("a"), faults.rejected("a"), faults.context_too_long("a")]
)
def test_what_is_the_request_s_fault_takes_the_model_from_nobody(fault: ModelFault) -> None:
    model = Doing("a:m", *[fault] * 50, "Here")
    chain = hasty_chain(model, breaker=BreakerRules(calls_min=2))
    for _ in range(50):
        with pytest.raises(ModelFault):
            respond(chain)
    assert respond(chain).text == "Here"


def test_a_model_is_not_blamed_for_the_time_it_was_not_given() -> None:
    chain = hasty_chain(Doing("a:m", None), breaker=BreakerRules(calls_min=1))
    with pytest.raises(ModelFault) as failed:
        respond(chain, seconds_max=0.05)
    assert (failed.value.code, failed.value.blame) == ("model_timeout", Blame.NOBODY)
    assert "(total)" in failed.value.message
    assert chain.health()[0].state == "closed"


def test_a_silent_model_is_blamed_and_leaves_time_for_the_next() -> None:
    times = TimeLimits(first_byte=0.05)
    first, second = Doing("a:m", None), Doing("b:m", "Here")
    retry, breaker = RetryPolicy(retries_max=0), BreakerRules(calls_min=1)
    chain = hasty_chain(first, second, times=times, retry=retry, breaker=breaker)
    reply = respond(chain)
    assert (reply.text, reply.fallbacks[0].code) == ("Here", "model_timeout")
    assert "(first_byte)" in reply.fallbacks[0].message
    assert chain.health()[0].state == "open"


def test_a_model_s_time_to_begin_is_a_fair_share_of_what_remains() -> None:
    first, second = Doing("a:m", None), Doing("b:m", "Here")
    retry = RetryPolicy(retries_max=0)
    chain = hasty_chain(first, second, times=TimeLimits(first_byte=9.0), retry=retry)
    assert respond(chain, seconds_max=3.0).text == "Here"


def test_a_cancelled_request_blames_nobody_and_makes_room() -> None:
    chain = hasty_chain(
        Doing("a:m", None, "Here"),
        breaker=BreakerRules(calls_min=1),
        bulkhead=BulkheadRules(at_once_max=1),
    )

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await chain.respond(says("x"), unseen)
        assert chain.health()[0] == ("a:m", "closed", 0, "")
        assert (await chain.respond(says("x"), unseen)).text == "Here"

    asyncio.run(scenario())


def test_for_whom_there_is_no_room_the_next_model_answers() -> None:
    first, second = Doing("a:m", None), Doing("b:m", "Here")
    bulkhead = BulkheadRules(at_once_max=1, waiting_max=0)
    chain = hasty_chain(first, second, bulkhead=bulkhead)

    async def scenario() -> ModelReply:
        async with asyncio.TaskGroup() as tasks:
            hanging = tasks.create_task(chain.respond(says("x"), unseen))
            await first.under_way.wait()
            reply = await chain.respond(says("x"), unseen)
            hanging.cancel()
        return reply

    reply = asyncio.run(scenario())
    assert (reply.model, reply.fallbacks[0].code) == ("b:m", "model_busy")
    assert first.asked == 1


async def twice(ctx: RunContext) -> Outcome:
    await ctx.model(says("one"))
    return Outcome((await ctx.model(says("two"))).text)


def test_a_run_says_who_answered_and_is_degraded(tmp_path: Path) -> None:
    chain = hasty_chain(Doing("a:m", down("a:m")), Doing("b:m", "Here"), retry=QUICK)
    events = run(tmp_path, chain, twice)
    (notice,) = payloads(events, "notice")
    assert notice == {
        "code": "model_fallback",
        "message": "a:m does not answer now. b:m answers in its place.",
        "cause": "model_unavailable",
        "model": "b:m",
        "instead_of": "a:m",
    }
    assert (events[-1].type, events[-1].payload["status"]) == ("agent_completed", "degraded")
    assert events[-1].payload["usage"]["model_requests"] == 8


def test_a_run_that_begins_again_tells_the_same(tmp_path: Path) -> None:
    """The fallback is recorded with the reply: no other model is asked, nothing is told twice."""
    chain = hasty_chain(Doing("a:m", down("a:m")), Doing("b:m", "Here"), retry=QUICK)
    stopped = asyncio.Event()

    async def stops(ctx: RunContext) -> Outcome:
        reply = await ctx.model(says("one"))
        if not stopped.is_set():
            stopped.set()
            await asyncio.Event().wait()
        return Outcome(reply.text)

    async def scenario() -> list[Event]:
        async with world(tmp_path, {"it": stops}, model=chain) as built:
            await built.begin()
            async with built.working():
                receipt = await built.ask("go")
                await stopped.wait()
        async with world(tmp_path, {"it": stops}, model=hasty_chain(Doing("c:m", down()))) as built:
            await built.begin()
            async with built.working():
                return await built.events_until_end(receipt)

    events = asyncio.run(scenario())
    assert [notice["instead_of"] for notice in payloads(events, "notice")] == ["a:m"]
    assert events[-1].payload["status"] == "degraded"


def test_the_report_says_that_another_model_wrote_it(tmp_path: Path) -> None:
    class Planning(Doing):
        async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
            reply = await Planner().respond(request, on_text)
            return msgspec.structs.replace(reply, model=self.name)

    chain = hasty_chain(Doing("a:m", down("a:m")), Planning("b:m"), retry=QUICK)
    found = ask(tmp_path, "What can I cut?", PLANTED, model=chain)
    assert found.notices() == ["model_fallback"]
    assert (found.status, found.report.status, found.report.model) == (
        "degraded", "degraded", "b:m",
    )  # fmt: skip
    assert "Written by b:m" in found.answer


def test_the_planner_at_the_end_of_a_chain_answers_and_says_so(tmp_path: Path) -> None:
    chain = hasty_chain(Doing("a:m", faults.quota_exhausted("a:m")), Planner())
    found = ask(tmp_path, "What can I cut?", PLANTED, model=chain)
    assert found.notices() == ["model_fallback"]
    assert found.told("notice")[0]["cause"] == "model_quota_exhausted"
    assert (found.status, found.report.model) == ("degraded", PLANNER)
    assert "**Move classify" in found.answer


def run(path: Path, chain: Chain, agent: Callable[[RunContext], Any]) -> list[Event]:
    async def scenario() -> list[Event]:
        async with world(path, {"it": agent}, model=chain) as built:
            await built.begin()
            async with built.working():
                return await built.events_until_end(await built.ask("go"))

    return asyncio.run(scenario())


def respond(chain: Chain, on_text: OnText = unseen, seconds_max: float = 60.0) -> ModelReply:
    request = msgspec.structs.replace(says("x"), seconds_max=seconds_max)
    return asyncio.run(chain.respond(request, on_text))


async def shown(_text: str) -> None:
    """Take text as a user's screen does."""
