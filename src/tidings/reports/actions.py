"""The next actions of an answer: list items below a heading that promises them."""

import re

_PROMISE = re.compile(
    r"^(?:#+\s*|\*\*)[^\n]*\b(?:next|actions?|recommend\w*|do this|to do)\b",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^(?:#+\s|\*\*[^*]+\*\*:?\s*$)")
_ITEM = re.compile(r"^\s{0,3}(?:[-*+]|\d{1,2}[.)])\s+(?:\[[ x]\]\s+)?(?P<text>\S.*)")
_ACTION_WORDS_MIN = 3


def action_items(text: str) -> tuple[str, ...]:
    """Return the items, as written, of every list below a heading such as "Next actions"."""
    found: list[str] = []
    promised = False
    for line in text.split("\n"):
        item = _ITEM.match(line)
        if _HEADING.match(line) or _PROMISE.match(line):
            promised = _PROMISE.match(line) is not None
        elif promised and item and len(item["text"].split()) >= _ACTION_WORDS_MIN:
            found.append(item["text"].strip())
    return tuple(found)
