"""A week of a made-up company's LLM usage, in which findings are planted whose truth is known.

Planted are: a simple feature that runs on too dear a model, though the little of it that ran on a
cheap one scored as well; a feature that asks a good part of its prompts twice; a feature whose
answers failed for some hours and were retried at full price; and a feature that would suffer on
the cheap model, which its scores show.
"""

import csv
import datetime
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from decimal import Decimal
from random import Random
from typing import TextIO

from genai_prices import Usage, calc_price

REQUESTS = 40_000
START = datetime.datetime(2026, 11, 2, tzinfo=datetime.UTC)
DAYS = 7
DUPLICATE_SHARE = 0.18
ATTEMPTS_MAX = 4

_HOURS_PER_DAY = 24
_CACHED_SHARE = 0.7
_ERROR_SHARE = 0.006
_ERRORS = ("rate_limited", "timeout", "server_error")
_STORM_BEGINS, _STORM_ENDS = (
    datetime.timedelta(days=3, hours=9),
    datetime.timedelta(days=3, hours=17),
)
_STORM_FAILURE_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the log; the names are those of the usage record."""

    ts: str
    request_id: str
    session_id: str
    provider: str
    model: str
    operation: str
    feature: str
    end_user: str
    region: str
    batch: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    latency_ms: float
    ttft_ms: float
    status: str
    error_code: str
    attempt: int
    prompt_hash: str
    prefix_hash: str
    prefix_tokens: int
    quality_score: float | None


@dataclass(frozen=True, slots=True)
class Planted:
    """What is true of a workload, computed request by request; amounts in USD at list price."""

    dear_feature: str
    dear_model: str
    cheap_model: str
    dear_requests: int
    dear_usd: float
    dear_saving_usd: float
    duplicate_feature: str
    duplicates: int
    duplicate_usd: float
    retry_feature: str
    retries: int
    retry_usd: float
    sensitive_feature: str
    sensitive_model: str
    sensitive_cheap_model: str


@dataclass(frozen=True, slots=True)
class _Model:
    provider: str
    name: str
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class _Feature:
    """How a feature uses models: its share of all requests, sizes (medians), and quality."""

    name: str
    share: float
    main: _Model
    other: _Model
    other_share: float
    input_median: int
    output_median: int
    spread: float
    prefix_tokens: int
    quality: float
    other_quality: float
    batch: bool = False


_GPT_4O = _Model("openai", "gpt-4o", 85)
_GPT_4O_MINI = _Model("openai", "gpt-4o-mini", 120)
_SONNET = _Model("anthropic", "claude-sonnet-4-5", 65)
_HAIKU = _Model("anthropic", "claude-haiku-4-5", 140)
_FLASH = _Model("google", "gemini-2.5-flash", 180)

_DEAR = _Feature(
    "ticket_classification", 0.24, _GPT_4O, _GPT_4O_MINI, 0.08, 1400, 4, 0.5, 900, 0.94, 0.94
)
_REPEATING = _Feature("faq_answers", 0.20, _HAIKU, _HAIKU, 0.0, 1800, 220, 0.6, 1200, 0.9, 0.9)
_STORMY = _Feature("invoice_extraction", 0.10, _SONNET, _SONNET, 0.0, 3200, 420, 0.5, 0, 0.92, 0.92)
_SENSITIVE = _Feature(
    "contract_review", 0.05, _SONNET, _HAIKU, 0.10, 9000, 900, 0.6, 1500, 0.91, 0.68
)
_FEATURES = (
    _DEAR,
    _REPEATING,
    _STORMY,
    _SENSITIVE,
    _Feature("support_chat", 0.17, _GPT_4O_MINI, _GPT_4O, 0.1, 2600, 240, 0.8, 1600, 0.88, 0.9),
    _Feature("code_assist", 0.08, _SONNET, _GPT_4O, 0.15, 6000, 800, 1.0, 2500, 0.87, 0.86),
    _Feature("search_rerank", 0.10, _FLASH, _FLASH, 0.0, 2200, 30, 0.5, 0, 0.9, 0.9),
    _Feature(
        "nightly_summaries", 0.06, _GPT_4O_MINI, _FLASH, 0.2, 5000, 350, 0.7, 400, 0.89, 0.89,
        batch=True,
    ),
)  # fmt: skip


def generate(random: Random, requests: int = REQUESTS) -> list[Request]:
    """Return about so many requests, in order of time; the same for the same seed."""
    made: list[Request] = []
    for feature in _FEATURES:
        asked: list[Request] = []
        for at in _times(random, feature, round(requests * feature.share)):
            request = _request(random, feature, at)
            if feature is _REPEATING and asked and random.random() < DUPLICATE_SHARE:
                request = _again(random.choice(asked), request)
            asked.append(request)
            made.extend(_attempts(random, feature, at, request))
    return sorted(made, key=lambda request: (request.ts, request.request_id))


def write_csv(requests: Iterable[Request], file: TextIO) -> None:
    """Write the requests as a log with a header."""
    writer = csv.writer(file)
    writer.writerow(field.name for field in fields(Request))
    writer.writerows(astuple(request) for request in requests)


def planted(requests: Sequence[Request]) -> Planted:
    """Return the truth about the planted findings."""
    dear = [r for r in requests if r.feature == _DEAR.name and r.model == _DEAR.main.name]
    dear_usd = _total(dear)
    moved = _total(replace(r, model=_DEAR.other.name) for r in dear)
    duplicates = list(_duplicates(requests))
    retries = [r for r in requests if r.attempt > 1]
    return Planted(
        dear_feature=_DEAR.name,
        dear_model=_DEAR.main.name,
        cheap_model=_DEAR.other.name,
        dear_requests=len(dear),
        dear_usd=dear_usd,
        dear_saving_usd=dear_usd - moved,
        duplicate_feature=_REPEATING.name,
        duplicates=len(duplicates),
        duplicate_usd=_total(duplicates),
        retry_feature=_STORMY.name,
        retries=len(retries),
        retry_usd=_total(retries),
        sensitive_feature=_SENSITIVE.name,
        sensitive_model=_SENSITIVE.main.name,
        sensitive_cheap_model=_SENSITIVE.other.name,
    )


def _times(random: Random, feature: _Feature, count: int) -> Iterator[datetime.datetime]:
    """Yield times in order, most of them in office hours of weekdays; batch work at night."""
    hours = range(DAYS * _HOURS_PER_DAY)
    weights = [_weight(feature, hour) for hour in hours]
    for hour in sorted(random.choices(hours, weights, k=count)):
        yield START + datetime.timedelta(hours=hour, seconds=random.uniform(0, 3600))


def _weight(feature: _Feature, hour: int) -> float:
    day, clock = divmod(hour, _HOURS_PER_DAY)
    if feature.batch:
        return 1.0 if 1 <= clock < 5 else 0.0  # noqa: PLR2004 - o'clock
    rhythm = 0.15 + math.exp(-(((clock - 14) / 4.5) ** 2))
    return rhythm * (0.35 if day >= 5 else 1.0)  # noqa: PLR2004 - the weekend


def _request(random: Random, feature: _Feature, at: datetime.datetime) -> Request:
    is_other = random.random() < feature.other_share
    model = feature.other if is_other else feature.main
    size = max(feature.prefix_tokens + 20, _heavy(random, feature.input_median, feature.spread))
    output = max(1, _heavy(random, feature.output_median, feature.spread))
    is_cached = feature.prefix_tokens and random.random() < _CACHED_SHARE
    ttft = (180 + size * 0.03) * random.lognormvariate(0, 0.35)
    latency = ttft + output / model.tokens_per_s * 1000 * random.lognormvariate(0, 0.2)
    quality = feature.other_quality if is_other else feature.quality
    return Request(
        ts=_written(at),
        request_id=f"r_{random.getrandbits(64):016x}",
        session_id=f"s_{random.getrandbits(20):05x}",
        provider=model.provider,
        model=model.name,
        operation="chat",
        feature=feature.name,
        end_user=f"user_{min(int(random.paretovariate(1.1)), 400)}",
        region=random.choice(("eu-west", "eu-west", "us-east")),
        batch="true" if feature.batch else "false",
        input_tokens=size,
        output_tokens=output,
        cached_input_tokens=feature.prefix_tokens if is_cached else 0,
        latency_ms=round(latency, 1),
        ttft_ms=round(ttft, 1),
        status="ok",
        error_code="",
        attempt=1,
        prompt_hash=f"{random.getrandbits(96):024x}",
        prefix_hash=f"{feature.name}-v1" if feature.prefix_tokens else "",
        prefix_tokens=feature.prefix_tokens,
        quality_score=round(min(1.0, max(0.0, random.gauss(quality, 0.05))), 3),
    )


def _heavy(random: Random, median: int, spread: float) -> int:
    return round(median * random.lognormvariate(0, spread))


def _again(earlier: Request, request: Request) -> Request:
    """Return the request with the earlier one's prompt."""
    return replace(
        request, prompt_hash=earlier.prompt_hash, input_tokens=earlier.input_tokens,
        prefix_hash=earlier.prefix_hash, prefix_tokens=earlier.prefix_tokens,
    )  # fmt: skip


def _attempts(
    random: Random, feature: _Feature, at: datetime.datetime, request: Request
) -> Iterator[Request]:
    """Yield the request, and the attempts before it that failed."""
    in_storm = feature is _STORMY and _STORM_BEGINS <= at - START < _STORM_ENDS
    attempt = 1
    while attempt < ATTEMPTS_MAX:
        if in_storm and random.random() < _STORM_FAILURE_SHARE:
            failed = replace(request, status="error", error_code="invalid_output")
        elif not in_storm and attempt == 1 and random.random() < _ERROR_SHARE:
            failed = replace(
                request, status="error", error_code=random.choice(_ERRORS),
                input_tokens=0, output_tokens=0, cached_input_tokens=0,
            )  # fmt: skip
        else:
            break
        yield replace(
            failed, ts=_written(at), attempt=attempt, quality_score=None,
            request_id=f"{request.request_id}_{attempt}",
        )  # fmt: skip
        at += datetime.timedelta(milliseconds=request.latency_ms + 500)
        attempt += 1
    yield replace(request, ts=_written(at), attempt=attempt)


def _written(at: datetime.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _duplicates(requests: Iterable[Request]) -> Iterator[Request]:
    """Yield the first attempts whose prompt the feature had sent to the model before."""
    seen: set[tuple[str, str, str]] = set()
    for request in requests:
        key = (request.prompt_hash, request.model, request.feature)
        if request.attempt == 1 and key in seen:
            yield request
        if request.attempt == 1:
            seen.add(key)


def _total(requests: Iterable[Request]) -> float:
    return float(sum((_price(request) for request in requests), Decimal(0)))


def _price(request: Request) -> Decimal:
    return calc_price(
        Usage(
            input_tokens=request.input_tokens,
            output_tokens=request.output_tokens,
            cache_read_tokens=request.cached_input_tokens,
        ),
        request.model,
        provider_id=request.provider,
        genai_request_timestamp=datetime.datetime.fromisoformat(request.ts),
        price_context={"processing": "batch"} if request.batch == "true" else None,
    ).total_price
