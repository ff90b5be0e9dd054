"""Characters that models read and people do not see."""

import re

_HIDDEN = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""Marks of direction, of no width, and tags; joiners, which scripts and emoji need, are none."""


def has_hidden(text: str) -> bool:
    """Return whether there is such a character in it."""
    return _HIDDEN.search(text) is not None


def without_hidden(text: str) -> str:
    """Return the text as people see it."""
    return _HIDDEN.sub("", text)
