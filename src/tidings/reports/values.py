"""How a value is written for people: by its unit, and harmless wherever it came from."""

import math
import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

from tidings.domain.facts import Fact, Unit, Value

MAX_NAME_CHARS = 120
NOTHING = "n/a"

_SIGNIFICANT_DIGITS = 3
_SECONDS_FROM_MS = 1_000
_SHORT_SECONDS_MS = 10_000
_SCIENTIFIC_FROM = 10**15
_SUFFIXES = {
    Unit.USD_PER_MTOK: " per M tokens",
    Unit.TOKENS_PER_S: " tokens/s",
    Unit.TOKENS_PER_MINUTE: " tokens/min",
    Unit.REQUESTS_PER_MINUTE: " requests/min",
    Unit.MS: " ms",
    Unit.SECONDS: " s",
}
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~&{}]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_OPENS_BLOCK = re.compile(r"(?:#{1,6}|[+-]|\d{1,9}[.)])(?:\s|$)|[=-]+$")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}
_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def written(fact: Fact) -> str:
    """Return the value of a fact as plain text: one line, bounded, not escaped for any format."""
    return write(fact.value, fact.unit)


def write(value: Value, unit: Unit) -> str:
    """Return a value as plain text in its unit; `n/a` when there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _time(value) if unit is Unit.TIME else plain(value)
    if unit in {Unit.NAME, Unit.TIME}:
        return f"{value}"
    return _quantity(value, unit)


def plain(text: str, limit: int = MAX_NAME_CHARS) -> str:
    """Return foreign text as one visible line of at most `limit` characters."""
    visible = "".join(
        " " if c.isspace() else c
        for c in text[: limit * 4]
        if c.isspace() or unicodedata.category(c) not in _INVISIBLE
    )
    line = " ".join(visible.split())
    if len(line) <= limit and len(text) <= limit * 4:
        return line
    return line[: limit - 1].rstrip() + "…"


def escaped(text: str) -> str:
    """Return plain text such that Markdown shows it as it is and HTML sees no markup in it."""
    safe = _MARKDOWN.sub(lambda m: _ENTITIES.get(m[0], f"\\{m[0]}"), text)
    if _OPENS_BLOCK.match(safe):
        head = re.match(r"\d*", safe)
        at = head.end() if head else 0
        safe = f"{safe[:at]}\\{safe[at:]}"
    return safe


def _quantity(value: float, unit: Unit) -> str:
    if abs(value) >= _SCIENTIFIC_FROM:
        return f"{Decimal(value):.3e}"
    if unit is Unit.USD:
        return _money(value)
    if unit is Unit.USD_PER_MTOK:
        return _money(value) + _SUFFIXES[unit]
    if unit is Unit.RATIO:
        return f"{value * 100:.0f} %" if value in {0, 1} else f"{_trimmed(value * 100, least=1)} %"
    if unit is Unit.MS and abs(value) >= _SECONDS_FROM_MS:
        return f"{_trimmed(value / 1000, least=2 if abs(value) < _SHORT_SECONDS_MS else 1)} s"
    return _count(value) + _SUFFIXES.get(unit, "")


def _money(value: float) -> str:
    sign = "-" if value < 0 else ""
    return f"{sign}${_trimmed(abs(value), least=2)}"


def _count(value: float) -> str:
    if float(value).is_integer():
        return f"{int(value):,}"
    return _trimmed(value, least=1)


def _trimmed(value: float, least: int) -> str:
    """Write with `least` decimals, and below one with as many as three significant digits take."""
    if value == 0 or abs(value) >= 1:
        return f"{value:,.{least}f}"
    places = _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value)))
    whole, _, decimals = f"{value:.{places}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(least, '0')}"


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return plain(text)
    if len(text) == len("2023-11-16"):
        return text
    return moment.strftime("%Y-%m-%d %H:%M UTC")
