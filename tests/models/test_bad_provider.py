"""A provider that misbehaves: what the run comes to, how soon, and how often it was asked."""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.agents.asking import Answered, ask
from tests.fakes.bad_provider import (
    ANTHROPIC,
    OPENAI,
    PROTOCOLS,
    BadProvider,
    RawAnswer,
    Rule,
    always,
    bad_provider,
    begins,
    error_in_stream,
    refusal,
    says,
)
from tests.fakes.models import says as request_of
from tests.fakes.toolbox import PLANTED
from tests.fakes.watch import RememberingWatch, hasty_chain
from tests.world import payloads, world
from tidings.cli import logs
from tidings.domain.events import TERMINAL, Event
from tidings.domain.runs import Outcome
from tidings.models.connect import connect
from tidings.models.faults import ModelFault
from tidings.models.patience import TimeLimits
from tidings.models.port import ModelReply, ModelRequest, OnText, unseen
from tidings.resilience.retry import RetryPolicy
from tidings.runs.context import RunContext

SECRET = "sk-very-secret"
SECONDS_MAX = 30.0
"""Within this every run here has ended, long before its deadline, on whatever machine this is."""
PATIENT = TimeLimits(connect=20.0, first_byte=20.0, gap=20.0)
"""For providers that say something at once, however busy the machine."""
HASTY = TimeLimits(connect=2.0, first_byte=1.5, gap=1.5)
"""For providers that say nothing: long enough that a busy machine has sent them the request."""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)


class Case(NamedTuple):
    """What a provider does, the code that the run fails with, and how often it was asked.

    `calls_shown` is how often when a user watches the text: not again once something was shown.
    """

    answer: Callable[[str], RawAnswer]
    code: str
    calls: int = 2
    calls_shown: int = 2
    times: TimeLimits = PATIENT


def limited(*headers: tuple[str, str]) -> Callable[[str], RawAnswer]:
    return lambda protocol: refusal(protocol, 429, "rate_limit_error", "Slow down", *headers)


def raw(body: bytes, kind: str = "text/event-stream") -> Callable[[str], RawAnswer]:
    return lambda protocol: RawAnswer((*begins(protocol), body), kind=kind)


def mid_stream(**kinds: Any) -> Callable[[str], RawAnswer]:
    return lambda protocol: RawAnswer(begins(protocol, "Hel", "lo"), **kinds)


def truncated(protocol: str) -> RawAnswer:
    whole = b"".join(says(protocol, "Hello", "world").pieces)
    return RawAnswer((whole[: whole.index(b"Hello") + 3] + b"\n\n",))


def undecodable(protocol: str) -> RawAnswer:
    whole = b"".join(says(protocol, "Hello").pieces)
    return RawAnswer((whole.replace(b"Hello", b"\xff\xfe\xc3"),))


CASES = {
    "429": Case(limited(), "model_rate_limited"),
    "429, come soon": Case(limited(("retry-after-ms", "60")), "model_rate_limited"),
    "429, come late": Case(limited(("retry-after", "60")), "model_rate_limited", 1, 1),
    "spend limit": Case(
        lambda p: refusal(p, 429, "insufficient_quota", "You exceeded your spend limit"),
        "model_quota_exhausted", 1, 1,
    ),
    "500": Case(lambda p: refusal(p, 500, "api_error", "Oops"), "model_unavailable"),
    "503": Case(lambda p: refusal(p, 503, "overloaded", "Busy"), "model_overloaded"),
    "529": Case(lambda p: refusal(p, 529, "overloaded_error", "Busy"), "model_overloaded"),
    "401": Case(
        lambda p: refusal(p, 401, "authentication_error", f"Bad key {SECRET}"),
        "model_auth_failed", 1, 1,
    ),
    "400": Case(lambda p: refusal(p, 400, "bad", f"No: {SECRET}"), "model_rejected", 1, 1),
    "too long": Case(
        lambda p: refusal(p, 413, "request_too_large", "Long"), "model_context_too_long", 1, 1
    ),
    "redirect": Case(
        lambda _: RawAnswer(status=307, headers=(("location", "http://127.0.0.1:9/"),)),
        "model_bad_reply",
    ),
    "silent": Case(lambda _: RawAnswer(silent=True), "model_timeout", times=HASTY),
    "hangs after the head": Case(lambda _: RawAnswer(hangs=True), "model_timeout", times=HASTY),
    "hangs in mid-stream": Case(mid_stream(hangs=True), "model_timeout", 2, 1, HASTY),
    "breaks off": Case(mid_stream(cut=True), "model_unavailable", 2, 1),
    "ends without an end": Case(mid_stream(), "model_unavailable", 2, 1),
    "error after 200": Case(
        lambda p: error_in_stream(p, "overloaded_error", "Hel"), "model_overloaded", 2, 1
    ),
    "error first": Case(lambda p: error_in_stream(p, "overloaded_error"), "model_overloaded"),
    "truncated JSON": Case(truncated, "model_bad_reply"),
    "HTML": Case(lambda _: RawAnswer((b"<html>Hi</html>",), kind="text/html"), "model_bad_reply"),
    "JSON": Case(lambda _: RawAnswer((b"{}",), kind="application/json"), "model_bad_reply"),
    "compressed": Case(
        lambda _: RawAnswer((b"x",), headers=(("content-encoding", "gzip"),)), "model_bad_reply"
    ),
    "no UTF-8": Case(undecodable, "model_bad_reply"),
    "10 MB line": Case(raw(b"data: " + b"x" * 10_000_000), "model_bad_reply"),
    "9 MB of comments": Case(raw((b": " + b"x" * 1_000 + b"\n") * 9_000), "model_bad_reply"),
    "nothing": Case(says, "model_bad_reply"),
    "500 with 10 MB": Case(
        lambda _: RawAnswer((b"x" * 10_000_000,), 500, "text/plain"), "model_unavailable"
    ),
}  # fmt: skip


class Ran(NamedTuple):
    """A run that ended, and how often its provider was asked."""

    events: list[Event]
    provider: BadProvider
    watch: RememberingWatch

    @property
    def end(self) -> dict[str, Any]:
        assert [event.type in TERMINAL for event in self.events].count(True) == 1
        return self.events[-1].payload


async def quietly(ctx: RunContext) -> Outcome:
    return Outcome((await ctx.model(request_of("hello"))).text)


async def openly(ctx: RunContext) -> Outcome:
    async def show(piece: str) -> None:
        await ctx.delta("m", piece)

    return Outcome((await ctx.model(request_of("hello"), on_text=show)).text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CASES)
def test_a_fault_ends_the_run_by_name_in_its_time(name: str, protocol: str, tmp_path: Path) -> None:
    case = CASES[name]
    ran = run(tmp_path, protocol, always(case.answer), quietly, case.times)
    assert (ran.events[-1].type, ran.end["code"]) == ("agent_failed", case.code)
    assert len(ran.provider.requests) == case.calls
    assert ran.watch.asked == {(f"{protocol}:m", case.code): case.calls}
    assert ran.end["usage"]["model_requests"] == case.calls
    assert SECRET not in repr(ran.events)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.calls_shown == 1])
def test_what_a_user_has_seen_is_not_asked_for_again(
    name: str, protocol: str, tmp_path: Path
) -> None:
    case = CASES[name]
    ran = run(tmp_path, protocol, always(case.answer), openly, case.times)
    assert (ran.events[-1].type, ran.end["code"]) == ("agent_failed", case.code)
    assert len(ran.provider.requests) == 1
    if case.calls > 1:
        assert "Hel" in "".join(delta["text"] for delta in payloads(ran.events, "answer_delta"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fault_tells_what_was_shown(protocol: str, tmp_path: Path) -> None:
    async def goes_on(ctx: RunContext) -> Outcome:
        async def show(piece: str) -> None:
            await ctx.delta("m", piece)

        try:
            reply = await ctx.model(request_of("hello"), on_text=show)
        except ModelFault as fault:
            return Outcome(f"So far: {fault.shown}", "degraded")
        return Outcome(reply.text)

    ran = run(tmp_path, protocol, always(mid_stream(cut=True)), goes_on)
    assert ran.end["answer"] == "So far: Hello"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_fault_that_passes_leaves_no_trace_but_in_the_usage(
    protocol: str, tmp_path: Path
) -> None:
    def second_time(protocol: str, _body: dict[str, Any], number: int) -> RawAnswer:
        return says(protocol, "Here") if number else refusal(protocol, 500, "api_error", "Oops")

    ran = run(tmp_path, protocol, second_time, quietly)
    assert (ran.events[-1].type, ran.end["status"]) == ("agent_completed", "completed")
    assert ran.end["answer"] == "Here"
    usage = ran.end["usage"]
    assert (usage["model_requests"], usage["input_tokens"], usage["output_tokens"]) == (2, 11, 7)
    assert ran.watch.retried == {f"{protocol}:m": 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_provider_may_be_slow_as_long_as_it_lives(protocol: str, tmp_path: Path) -> None:
    """Its pieces come 0.3 s apart: all take longer than silence is borne, none is that late."""

    def slow(protocol: str) -> RawAnswer:
        return RawAnswer(says(protocol, *"abcd").pieces, pause=0.3)

    ran = run(tmp_path, protocol, always(slow), quietly, TimeLimits(gap=1.2, first_byte=1.2))
    assert ran.end["answer"] == "abcd"
    assert len(ran.provider.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_is_given_up_is_hung_up_on(protocol: str, tmp_path: Path) -> None:
    ran = run(tmp_path, protocol, always(mid_stream(hangs=True)), quietly, HASTY)
    assert ran.provider.left == len(ran.provider.requests) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "name", ["429", "spend limit", "529", "silent", "breaks off", "HTML", "no UTF-8", "10 MB line"]
)
def test_the_analysis_reaches_its_report_whatever_its_provider_does(
    name: str, protocol: str, tmp_path: Path
) -> None:
    case = CASES[name]
    found, provider = analyse(tmp_path, protocol, always(case.answer), case.times)
    assert found.status == found.report.status == "degraded"
    assert {notice["cause"] for notice in found.told("notice")} == {case.code}
    assert "**Move classify" in found.answer
    assert len(provider.requests) <= 2 * case.calls
    assert SECRET not in repr(found.events)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_that_stops_in_its_middle_is_begun_anew_and_said_so(
    protocol: str, tmp_path: Path
) -> None:
    """Triage and analysis go well; the report hangs after a line that users have seen."""
    begun = "# What to do\n\nThis is the first sentence. And the sec"

    def hangs_at_last(protocol: str, _body: dict[str, Any], number: int) -> RawAnswer:
        texts = ('{"family": "cut_cost"}', "Done.")
        if number < len(texts):
            return says(protocol, texts[number])
        return RawAnswer(begins(protocol, begun), hangs=True)

    found, provider = analyse(tmp_path, protocol, hangs_at_last, HASTY)
    assert found.status == "degraded"
    assert found.notices() == ["model_fallback"]
    assert found.told("notice")[0]["cause"] == "model_timeout"
    assert len(provider.requests) == 3
    pieces = found.told("answer_delta")
    assert "# What to do" in pieces[0]["text"]
    assert pieces[0]["message_id"] != pieces[-1]["message_id"]
    assert "built-in planner" in found.answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_log_repeats_a_key_or_a_prompt(
    protocol: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    logs.configure("debug")
    try:
        run(tmp_path / "1", protocol, always(CASES["401"].answer), quietly)
        run(tmp_path / "2", protocol, always(lambda p: says(p, "Here")), quietly)
        logging.getLogger("tests").debug("the end")
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    said = capfd.readouterr().err
    assert "the end" in said
    assert SECRET not in said
    assert "hello" not in said
    assert said.count('"level":"warning"') == 1
    assert "did not accept the key; check it. (model_auth_failed)" in said


def test_a_fault_that_is_logged_repeats_nothing(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with bad_provider(always(CASES["400"].answer)) as provider:
            model = connect("openai:m", OPENAI, "m", provider.base_url(OPENAI))
            try:
                await model.respond(request_of("hello"), unseen)
            except ModelFault:
                return traceback.format_exc()
        raise AssertionError

    assert SECRET not in asyncio.run(scenario())


def test_a_timeout_says_which_limit_it_was(tmp_path: Path) -> None:
    first = run(tmp_path / "1", OPENAI, always(lambda _: RawAnswer(silent=True)), quietly, HASTY)
    gap = run(tmp_path / "2", ANTHROPIC, always(mid_stream(hangs=True)), quietly, HASTY)
    assert "(first_byte)" in first.end["message"]
    assert "(stalled)" in gap.end["message"]


def run(
    path: Path,
    protocol: str,
    rule: Rule,
    agent: Callable[[RunContext], Any],
    times: TimeLimits = PATIENT,
) -> Ran:
    """Return the run of an agent with a model of this provider, having ended within its bound."""
    path.mkdir(exist_ok=True)
    watch = RememberingWatch()

    async def scenario() -> Ran:
        async with bad_provider(rule) as provider:
            model = connect(f"{protocol}:m", protocol, "m", provider.base_url(protocol))
            retry = RetryPolicy(retries_max=1, base_seconds=0.02)
            chain = hasty_chain(model, watch=watch, times=times, retry=retry)
            async with world(path, {"it": agent}, model=chain) as built:
                await built.begin()
                async with built.working():
                    events = await built.events_until_end(await built.ask("go"))
            await asyncio.sleep(0)
            return Ran(events, provider, watch)

    begun = time.monotonic()
    ran = asyncio.run(scenario())
    assert time.monotonic() - begun < SECONDS_MAX
    return ran


def analyse(
    path: Path, protocol: str, rule: Rule, times: TimeLimits
) -> tuple[Answered, BadProvider]:
    """Return what the analysis makes of a question with a model of this provider."""
    served = ServedModel(protocol, rule, times)
    return ask(path, "Where does the money go?", PLANTED, model=served), served.provider


class ServedModel:
    """A provider's model in a chain, with its server in whatever event loop it is asked."""

    def __init__(self, protocol: str, rule: Rule, times: TimeLimits) -> None:
        self.name = f"{protocol}:m"
        self.provider = BadProvider(rule)
        self._protocol = protocol
        self._times = times

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        async with bad_provider(self.provider.rule) as server:
            server.requests = self.provider.requests
            url = server.base_url(self._protocol)
            model = connect(self.name, self._protocol, "m", url)
            retry = RetryPolicy(retries_max=1, base_seconds=0.02)
            chain = hasty_chain(model, times=self._times, retry=retry)
            return await chain.respond(request, on_text)
