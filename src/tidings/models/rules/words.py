"""Which question is it, read from its words: the built-in planner's triage."""

import re
from collections.abc import Callable
from typing import TypeVar

from tidings.models.tasks import Constraints, Decision, Family, FeatureLimit

T = TypeVar("T")

READ_CHARACTERS_MAX = 2_000
"""How much of a question is read for its family: half from its beginning, half from its end."""

_MODEL = (
    r"(?:gpt-[\w.\-]*\w|o[134](?:-mini|-pro)?|claude-[\w.\-]*\w|gemini-[\w.\-]*\w"
    r"|mistral-[\w.\-]*\w|llama[\w.\-]*\d[\w.\-]*|deepseek-[\w.\-]*\w|qwen[\w.\-]*\d[\w.\-]*)"
)
_NUMBER = r"(\d+(?:[.,]\d+)?)"
_PERCENT = rf"{_NUMBER}\s*(?:%|per ?cent)"
_MONEY = r"\b(?:cost|costs|spend|spending|bill|money|budget|price)\b"
_LOAD = r"(?:usage|traffic|volume|load|requests|calls|users)"
_LESS = (
    r"\b(?:cut|cutting|reduc\w+|sav\w+|lower\w*|trim\w*|optimi[sz]\w+|decreas\w+|shrink\w*|down)"
)
_FEATURE = r"(?<![\w\-])(?:(?:feature|function|tool|agent)\s+)?[\"'`]?([A-Za-z][\w\-]*)[\"'`]?"
_TIMES = {
    "two": 2.0,
    "twice": 2.0,
    "double": 2.0,
    "three": 3.0,
    "four": 4.0,
    "five": 5.0,
    "ten": 10.0,
}
_FASTER = r"(?:faster|lower|less|shorter|quicker|latency)"
_NOT_NAMES = frozenset(
    {"feature", "function", "tool", "agent", "it", "which", "that", "this", "is", "are", "can"}
    | {"expensive", "cost", "costs", "calls", "usage", "slow", "should", "must", "may", "tolerates"}
)

_RULES: tuple[tuple[Family, str], ...] = (
    (Family.OTHER, r"\b(?:poem|joke|story|song|recipe|weather|translate|essay)\b"),
    (
        Family.UPGRADE_REVIEW,
        r"\b(?:upgrade\w*|roll\w* ?back|migrat\w+|switch(?:ed|ing)|worth it)\b",
    ),
    (Family.CACHING, r"\b(?:cach\w+|kv)\b"),
    (
        Family.MOVE_MODELS,
        r"\b(?:mov\w+|another model|other model|different model|must not)\b.*\bmodels?\b",
    ),
    (
        Family.COMPARE_MODELS,
        r"\b(?:compare|consider\w*|versus|vs)\b.*\b(?:models?\b|" + _MODEL + ")",
    ),
    (Family.GROWTH, r"\b(?:grow\w*|rate limits?|scale|scaling)\b"),
    (
        Family.TRADE_OFF,
        rf"{_LESS}\b.{{0,20}}?(?:{_MONEY}.{{0,9}}\band\b.{{0,9}}\blatency"
        rf"|\blatency.{{0,9}}\band\b.{{0,9}}{_MONEY})",
    ),
    (Family.SPEED, rf"\b(?:slow\w*|faster|speed)\b|{_LESS}\b(?: \w+){{0,2}} latency"),
    (Family.CUT_COST, rf"\bcheaper\b|{_LESS}\b.{{0,40}}?{_MONEY}|\bsavings?\b|{_MONEY} down\b"),
    (Family.FEATURE_COST, r"\b(?:feature|function|tool|agent)\b.*\b(?:expensive|costly|costs?)\b"),
    (Family.CHANGES, r"\b(?:what(?:'s| has| is)? changed?|differen\w+|since (?:last|yesterday))\b"),
    (Family.ANOMALIES, r"\b(?:odd|strange|anomal\w+|unusual|weird|spikes?|outliers?)\b"),
    (Family.SPEND, rf"{_MONEY}|\b(?:expensive|dollars?|usd|pay\w*)\b"),
    (Family.SPEED, r"\b(?:latenc\w+|p9\d|ttft|response times?)\b"),
    (
        Family.OVERVIEW,
        r"\b(?:week|overview|summar\w+|analy[sz]\w+|usage|logs?|tokens?|report|data|files?)\b",
    ),
)


def decide(question: str, *, has_data: bool = False) -> Decision:
    """Return the family and the constraints that the question's words show.

    Words that show none are about the data, if there are any, and else about something else.
    """
    text = " ".join(question.split())
    if len(text) > READ_CHARACTERS_MAX:  # what is pasted in between is no question
        half = READ_CHARACTERS_MAX // 2
        text = f"{text[:half]} {text[-half:]}"
    constraints = _constraints(text)
    return Decision(_family(text.lower(), constraints, has_data=has_data), constraints)


def _family(text: str, constraints: Constraints, *, has_data: bool) -> Family:
    demands = (constraints.cost_cut, constraints.latency_factor, constraints.growth)
    if sum(demand is not None for demand in demands) > 1:
        return Family.TRADE_OFF
    for family, pattern in _RULES:
        if re.search(pattern, text):
            return family
    if len(constraints.models) > 1:
        return Family.COMPARE_MODELS
    if constraints.assume_model:
        return Family.SPEND
    return Family.OVERVIEW if has_data else Family.OTHER


def _constraints(text: str) -> Constraints:
    models = tuple(dict.fromkeys(name.lower() for name in re.findall(rf"\b{_MODEL}", text, re.I)))
    return Constraints(
        features=_feature_limits(text),
        growth=_share(
            text,
            rf"grow\w*(?: \w+){{0,3}} (?:by )?{_PERCENT}",
            rf"\+\s*{_PERCENT} {_LOAD}",
            rf"{_PERCENT} (?:more|higher|growth)(?: \w+)? ?{_LOAD}?",
        ),
        cost_cut=_share(
            text,
            rf"[-\u2212]\s*{_PERCENT} (?:\w+ )?{_MONEY}",
            rf"{_LESS}(?: \w+){{0,3}} (?:by )?{_PERCENT}",
            rf"{_PERCENT} (?:cheaper|less {_MONEY}|lower {_MONEY}|off)",
        ),
        latency_factor=_factor(text),
        models=models,
        assume_model=_assumed(text),
        feature=_feature(text, tuple(limit.feature for limit in _feature_limits(text))),
    )


def _feature_limits(text: str) -> tuple[FeatureLimit, ...]:
    slower = (
        rf"{_FEATURE} (?:tolerates?|may be|can be|accepts?|allows?) {_NUMBER} ?(ms|s\b|seconds?)"
    )
    keeps = rf"{_FEATURE} (?:must|has to|should) (?:keep|not lose|hold) (?:its|the)? ?latency"
    limits = [
        FeatureLimit(name, _float(number) * (1 if unit.lower() == "ms" else 1000))
        for name, number, unit in re.findall(slower, text, re.I)
    ]
    limits += [FeatureLimit(name, 0.0) for name in re.findall(keeps, text, re.I)]
    return tuple(limit for limit in limits if limit.feature.lower() not in _NOT_NAMES)


def _share(text: str, *patterns: str) -> float | None:
    return _first(text, patterns, lambda match: _float(match[1]) / 100)


def _factor(text: str) -> float | None:
    words = "|".join(_TIMES)
    return _first(
        text,
        (
            rf"\b({words})(?: times| the)? {_FASTER}",
            rf"\b(\d+(?:[.,]\d+)?) ?(?:x|times) (?:\w+ )?{_FASTER}",
        ),
        lambda match: _TIMES.get(match[1].lower()) or _float(match[1]),
    )


def _assumed(text: str) -> str | None:
    return _first(
        text,
        (
            rf"\b(?:ran|run|running|were run|is run|are) (?:all )?(?:on|with|by|from) ({_MODEL})",
            rf"\b(?:assum\w+|suppose|treat \w+ as|as if)(?: \w+){{0,4}}? ({_MODEL})",
            rf"\b(?:the )?model (?:is|was) ({_MODEL})",
            rf"\b(?:these|they|all|everything|it) (?:are|were|is|was) (?:all )?({_MODEL})",
        ),
        lambda match: match[1].lower(),
    )


def _feature(text: str, limited: tuple[str, ...]) -> str | None:
    name = r"\b(?:feature|function|tool)\s+[\"'`]?([A-Za-z][\w\-]*)[\"'`]?"
    found = {
        feature
        for feature in re.findall(name, text, re.I)
        if feature.lower() not in _NOT_NAMES and feature not in limited
    }
    return found.pop() if len(found) == 1 else None


def _first(text: str, patterns: tuple[str, ...], value: Callable[[re.Match[str]], T]) -> T | None:
    for pattern in patterns:
        if match := re.search(pattern, text, re.I):
            return value(match)
    return None


def _float(number: str) -> float:
    return float(number.replace(",", "."))
