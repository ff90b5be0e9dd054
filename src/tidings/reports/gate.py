"""The quality gate: is a draft true, complete, concrete and readable enough to be an answer?

Every dimension is in [0, 1]; the score is their weighted sum (`WEIGHTS`). A draft passes with a
score of at least `QUALITY_MIN` and not one ungrounded figure or unknown placeholder.

- grounding     placed / (placed + ungrounded + unknown); 0 for an analysis that places nothing
- coverage      share of the asked items of which at least half the content words appear
- specificity   analysis: share of sections with a fact; guidance: share with a fact, a field in
                code, or a list; half of them is enough for 1
- actionability next actions, `ENOUGH_ACTIONS` of them for 1
- consistency   share of the checks that hold among the results the draft places
- readability   mean of: length in bounds, structured if long, sentences short, paragraphs short
"""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from tidings.domain.facts import Fact, ToolResult, cell_id
from tidings.reports.actions import action_items
from tidings.reports.consistency import checks
from tidings.reports.figures import PLACEHOLDER, Grounds, ungrounded
from tidings.reports.render import Rendered, chart_title, render

QUALITY_MIN = 0.7
WEIGHTS = {
    "grounding": 0.30,
    "coverage": 0.20,
    "specificity": 0.15,
    "actionability": 0.15,
    "consistency": 0.10,
    "readability": 0.10,
}
ENOUGH_ACTIONS = 2
WORDS_MIN = {"analysis": 40, "guidance": 30}
WORDS_MAX = 1500
MAX_FINDINGS = 20
MODEL_LABELLED = frozenset({"calculate", "query"})

_SECTION_WORDS_MIN = 8
_SENTENCE_WORDS_MAX = 30
_PARAGRAPH_WORDS_MAX = 150
_UNSTRUCTURED_WORDS_MAX = 150
_STEM_CHARS = 5
_STOPWORDS = frozenset(
    {"about", "does", "from", "have", "into", "much", "should", "that", "their", "this", "what"}
    | {"when", "where", "which", "with", "would", "your", "them", "they", "more", "than", "the"}
    | {"and", "for", "how", "are", "can", "you", "our", "who", "why", "its", "was", "not", "keep"}
)

Kind = Literal["analysis", "guidance"]


class Quality(msgspec.Struct, frozen=True):
    """The verdict; `findings` tell the writer, sentence by sentence, what to mend."""

    score: float
    dimensions: dict[str, float]
    findings: tuple[str, ...]
    passed: bool


def judge(
    text: str,
    question: str,
    facts: Mapping[str, Fact],
    results: Mapping[str, ToolResult],
    asked: tuple[str, ...],
    kind: Kind = "analysis",
) -> Quality:
    """Judge a draft, placeholders still in it, that answers `question` and must address `asked`."""
    rendered = render(text, facts, results)
    parts = {
        "grounding": _grounding(text, rendered, Grounds.of(question, facts), facts, results, kind),
        "coverage": _coverage(f"{rendered.text} {_labels(rendered, facts)}", asked),
        "specificity": _specificity(text, kind),
        "actionability": _actionability(text),
        "consistency": _consistency(rendered, facts, results),
        "readability": _readability(rendered.text, kind),
    }
    score = round(sum(WEIGHTS[name] * value for name, (value, _) in parts.items()), 4)
    findings = tuple(finding for _, found in parts.values() for finding in found)
    grounded = not parts["grounding"][1]
    return Quality(
        score=score,
        dimensions={name: round(value, 4) for name, (value, _) in parts.items()},
        findings=findings[:MAX_FINDINGS],
        passed=grounded and score >= QUALITY_MIN,
    )


Part = tuple[float, list[str]]


def _grounding(
    text: str,
    rendered: Rendered,
    grounds: Grounds,
    facts: Mapping[str, Fact],
    results: Mapping[str, ToolResult],
    kind: Kind,
) -> Part:
    bad = ungrounded(_with_model_labels(text, rendered, facts, results), grounds)
    findings = [
        f'"{figure.text}" in "{figure.around}" is no fact: write {{{{fact:ID}}}}, or leave it out.'
        for figure in bad
    ]
    findings += [finding.message for finding in rendered.findings]
    findings += [
        f"The fact {key} has no value: leave it out."
        for key in rendered.used
        if facts[key].value is None
    ]
    placed = len(rendered.used) + len(rendered.tables) + len(rendered.charts)
    if kind == "analysis" and not placed:
        return 0.0, [*findings, "The analysis names no fact: place some with {{fact:ID}}."]
    return _share(placed, placed + len(findings)), findings


def _with_model_labels(
    text: str, rendered: Rendered, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]
) -> str:
    """Add what models wrote outside the draft: titles of charts, labels of what they computed."""
    titles = [chart_title(results[call].chart or {}) for call in rendered.charts]
    shown = [*rendered.used]
    for call in rendered.tables:
        table = results[call].table
        shown += [cell_id(call, 0, column.name) for column in table.columns] if table else []
    labels = [facts[k].label for k in shown if k in facts and facts[k].tool in MODEL_LABELLED]
    return "\n".join([text, *titles, *labels])


def _labels(rendered: Rendered, facts: Mapping[str, Fact]) -> str:
    return " ".join(facts[key].label for key in rendered.used)


def _coverage(text: str, asked: tuple[str, ...]) -> Part:
    said = _stems(text)
    missed = [item for item in asked if 2 * len(_stems(item) & said) < len(_stems(item))]
    findings = [f'"{item}" was asked and is not answered: say it, or why not.' for item in missed]
    return _share(len(asked) - len(missed), len(asked)), findings


def _stems(text: str) -> set[str]:
    words = re.findall(r"[^\W_]{3,}", text.casefold())
    return {word[:_STEM_CHARS] for word in words if word not in _STOPWORDS}


def _specificity(text: str, kind: Kind) -> Part:
    sections = [block for block in re.split(r"\n\s*\n", text) if _is_section(block)]
    concrete = [block for block in sections if _is_concrete(block, kind)]
    score = min(1.0, 2 * len(concrete) / len(sections)) if sections else 0.0
    return score, ["Too general: put facts of the user's own data into it."] if score < 1 else []


def _is_section(block: str) -> bool:
    holds = PLACEHOLDER.search(block) is not None
    return holds or len(block.split()) >= _SECTION_WORDS_MIN


def _is_concrete(block: str, kind: Kind) -> bool:
    if PLACEHOLDER.search(block):
        return True
    return kind == "guidance" and bool(
        re.search(r"`[^`]+`|^\s*(?:[-*+]|\d+[.)]) ", block, re.MULTILINE)
    )


def _actionability(text: str) -> Part:
    score = min(1.0, len(action_items(text)) / ENOUGH_ACTIONS)
    advice = 'End with a heading "Next actions" and a list of what to do, each with a verb first.'
    return score, [advice] if score < 1 else []


def _consistency(
    rendered: Rendered, facts: Mapping[str, Fact], results: Mapping[str, ToolResult]
) -> Part:
    calls = {facts[key].call_id for key in rendered.used} | {*rendered.tables, *rendered.charts}
    done = [c for call in sorted(calls & results.keys()) for c in checks(call, results[call])]
    broken = [f"{message} Do not rest a claim on it." for held, message in done if not held]
    return _share(len(done) - len(broken), len(done)), broken


def _readability(text: str, kind: Kind) -> Part:
    prose = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("|"))
    words = len(prose.split())
    structured = words <= _UNSTRUCTURED_WORDS_MAX or re.search(
        r"^(?:#|\s*[-*+\d])", prose, re.MULTILINE
    )
    sentences = [s for s in re.split(r"[.!?:;](?:\s|$)|\n", prose) if s.strip()]
    paragraphs = re.split(r"\n\s*\n", prose)
    tests = {
        f"Write at least {WORDS_MIN[kind]} words.": words >= WORDS_MIN[kind],
        f"Write at most {WORDS_MAX} words.": words <= WORDS_MAX,
        "Give it headings or lists.": bool(structured),
        "Use shorter sentences.": bool(sentences) and words / len(sentences) <= _SENTENCE_WORDS_MAX,
        "Use shorter paragraphs.": all(len(p.split()) <= _PARAGRAPH_WORDS_MAX for p in paragraphs),
    }
    return _share(sum(tests.values()), len(tests)), [say for say, held in tests.items() if not held]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
