"""Figures in untrusted text: every number a reader would see, and which of them need no fact.

A figure is any digit of any script, however dressed (full-width, superscript, entity, LaTeX, in
code, links or emphasis, split by invisible characters), and English number words, multipliers and
fractions. Exempt is only what is on a closed list: names known from facts or question, terms such
as p95 or gpt-4o, dates that are facts, plain ordinals, and quantities quoted from the question. So
an unknown shape is a figure: the check errs towards asking for a fact. Each line is judged alone.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from tidings.domain.facts import Fact, Unit
from tidings.reports import vocabulary as words
from tidings.reports.values import MAX_NAME_CHARS

PLACE = "\ufffc"
PLACEHOLDER = re.compile(r"\{\{\s*(fact|table|chart)\s*:\s*([^{}\n]{1,200}?)\s*\}\}")
MAX_ORDINAL = 20

_EXEMPT = "·"
_MAX_NUMBER_CHARS = 30
_LOOKALIKES = str.maketrans(
    {
        "🔟": " 10 ",
        "💯": " 100 ",
        "\u2019": "'",
        "\u2212": "-",
        "\u2013": "-",
        "\u2014": " ",
        "\u00d7": "x",
        PLACE: " ",
    }
)
_EMPHASIS = re.compile(r"\*+|__+|~~|`+|\\(?=[^\w\s])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_NAME = re.compile(r"[A-Za-z0-9][\w.:/@+-]*")
_DIGITS = r"(?:(?<!\d)\d{1,3}(?: \d{3})+(?!\d)|\d+(?:[.,'_]\d+)*)(?:\.\d+)?(?:e[+-]?\d{1,2}(?!\w))?"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)])[+-])?(?P<money>(?:[$€£]|\b(?:usd|eur|gbp)) ?)?(?P<number>{_DIGITS})"
    rf"(?: ?(?P<scale>{'|'.join(words.SCALES)})\b)?(?P<unit>[ -]?{words.UNIT})?",
    re.IGNORECASE,
)
_GROUPED = re.compile(r"\d{1,3}(?:[,'_ ]\d{3})+(?:\.\d+)?(?:e[+-]?\d+)?")
_CONTINENTAL = re.compile(r"\d{1,3}(?:\.\d{3})+,\d+|\d+,\d{1,2}")
_PLAIN = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_BIG = ("hundred", "thousand", "million", "billion", "trillion", "dozen")
_WORD = "|".join([*words.CARDINALS, *_BIG])
_WORDS = re.compile(
    rf"\b(?P<words>(?:{_WORD})(?:(?:[ -]|[ -]and[ -])(?:{_WORD}))*)\b(?P<unit>[ -]?{words.UNIT})?"
    rf"|\b(?P<folded>{_WORD})fold\b",
    re.IGNORECASE,
)
_CHINESE = re.compile("[〇零一二三四五六七八九十百千万亿億兩两]{2,}")
# What would change a fact: a sign, a currency, a digit, a scale or another fact stuck to it.
_ALTERED = re.compile(
    rf"(?:(?<![\w{PLACE}])[-+]|[$€£¥\d^] ?){PLACE}"
    rf"|{PLACE}(?:[A-Za-z\d%‰^{PLACE}]|[.,]\d|[ -]?(?:{'|'.join(_BIG)}|per ?cent|k|m|bn|x|%)(?!\w))"
    r"|^\s*(?:k|m|bn|x|%)(?!\w)",
    re.IGNORECASE,
)


class Figure(msgspec.Struct, frozen=True):
    """A number as it stands in a text, and the words around it."""

    text: str
    around: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit, comparable however it was written; `sign` is "", "+" or "-"."""

    value: Decimal
    unit: str
    sign: str = ""

    def quotes(self, other: "Quantity") -> bool:
        """Return whether both say the same; a sign may be left out but not turned."""
        same = self.value == other.value and self.unit == other.unit
        return same and (not self.sign or not other.sign or self.sign == other.sign)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a text may state without a placeholder: quoted quantities, known names, known times."""

    quantities: tuple[Quantity, ...]
    names: frozenset[str]
    times: frozenset[str]

    @classmethod
    def of(cls, question: str, facts: Mapping[str, Fact]) -> "Grounds":
        """Collect what the user's question and the facts allow to be repeated."""
        lines = [_visible(line) for line in question.split("\n")]
        asked = [found for line in lines for found in _quantities(line)]
        names = {token.lower() for line in lines for token in _names(line) if _nameable(token)}
        times = {
            key for line in lines for match in words.DATES.finditer(line) for key in _keys(match)
        }
        for fact in facts.values():
            names.update((fact.call_id.lower(), fact.id.lower()))
            if isinstance(fact.value, str) and fact.unit is Unit.NAME:
                names.update(_name_tokens(fact.value[:MAX_NAME_CHARS]))
            elif isinstance(fact.value, str) and fact.unit is Unit.TIME:
                times.update(_moment(fact.value))
        quoted = tuple(dict.fromkeys(quantity for _, quantity in asked if quantity is not None))
        return cls(quoted, frozenset(names), frozenset(times))


def figures(text: str) -> tuple[Figure, ...]:
    """Return every figure of a text, exempt or not."""
    lines = (_visible(line) for line in text.split("\n"))
    return tuple(_figure(line, at) for line in lines for at, _ in _quantities(line))


def ungrounded(text: str, grounds: Grounds) -> tuple[Figure, ...]:
    """Return the figures of a text that only a fact could justify."""
    return LineJudge(grounds).judge(text)


class LineJudge:
    """Judges a text as it grows: only the numbering of its lists is remembered between lines."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._marker = 0

    def judge(self, text: str) -> tuple[Figure, ...]:
        """Return the ungrounded figures of the next lines."""
        return tuple(figure for line in text.split("\n") for figure in self._line(_visible(line)))

    def _line(self, line: str) -> Iterator[Figure]:
        for match in _ALTERED.finditer(line):
            yield _figure(line, match.span())
        left = self._without_marker(line)
        left = _NAME.sub(self._known, left)
        left = words.TERMS.sub(_EXEMPT, left)
        left = words.STATUS_CODE.sub(self._status, left)
        left = words.DATES.sub(self._dated, left)
        left = words.ORDINALS.sub(_ordinal, left)
        for span, quantity in _quantities(left):
            if not self._quoted(quantity) and not _counts_the_visible(left, span):
                yield _figure(left, span)

    def _without_marker(self, line: str) -> str:
        match = words.MARKER.match(line)
        if match is None:
            return line
        number = int(match["n"] or match["h"])
        if number not in {1, self._marker + 1}:
            return line
        self._marker = number
        return line[match.end() :]

    def _known(self, match: re.Match[str]) -> str:
        token = match[0].rstrip(".:/-+")
        if token.lower() not in self._grounds.names or token.isdigit():
            return match[0]
        return _EXEMPT + match[0][len(token) :]

    def _status(self, match: re.Match[str]) -> str:
        return _EXEMPT if match["code"] in self._grounds.names else match[0]

    def _dated(self, match: re.Match[str]) -> str:
        if _keys(match) & self._grounds.times:
            return _EXEMPT
        return re.sub(r"(?<=\d)(?:st|nd|rd|th)", "", match[0])

    def _quoted(self, quantity: Quantity | None) -> bool:
        return quantity is not None and any(quantity.quotes(q) for q in self._grounds.quantities)


def _visible(line: str) -> str:
    """Return what a reader sees of a line, digits of all scripts as ASCII, facts as one mark."""
    pieces = PLACEHOLDER.sub("\0", line.replace("\0", " ")).split("\0")
    return _EMPHASIS.sub("", PLACE.join(_legible(piece) for piece in pieces))


def _legible(text: str) -> str:
    text = unicodedata.normalize("NFKC", html.unescape(text).translate(_LOOKALIKES))
    return "".join(_ascii(c) for c in text)


def _ascii(character: str) -> str:
    if character.isspace():
        return " "
    if character.isascii():
        return character if character.isprintable() else ""
    category = unicodedata.category(character)
    if category in {"Nd", "No"}:
        return f"{unicodedata.numeric(character, 0):g}"
    return "" if category in {"Cf", "Mn", "Me", "Cc"} else character


Found = tuple[tuple[int, int], Quantity | None]


def _quantities(line: str) -> list[Found]:
    """Return every figure of a visible line: where it stands, and its meaning where it has one."""
    found: list[Found] = []
    for pattern, read in _READERS:
        line = _taken(line, pattern, read, found)
    return sorted(found, key=lambda one: one[0])


def _taken(line: str, pattern: re.Pattern[str], read: "Reader", found: list[Found]) -> str:
    """Return the line without what the pattern reads in it, so that nothing is read twice."""

    def take(match: re.Match[str]) -> str:
        if read is _in_words and not _counts(match):
            return match[0]
        found.append((match.span(), read(match)))
        return _EXEMPT * len(match[0])

    return pattern.sub(take, line)


def _number(match: re.Match[str]) -> Quantity | None:
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 1]
    value = _value(match["number"].lower())
    glued = after.isalnum() and match["unit"] is None
    if value is None or glued or before.isalnum() or before == PLACE or after in {PLACE, "^"}:
        return None
    unit, factor = _unit(match["money"] or match["unit"])
    scale = words.SCALES[match["scale"].lower()] if match["scale"] else Decimal(1)
    return Quantity(value * factor * scale, unit, match["sign"] or "")


def _value(text: str) -> Decimal | None:
    if len(text) > _MAX_NUMBER_CHARS:
        return None
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if _GROUPED.fullmatch(text):
        return Decimal(re.sub("[,'_ ]", "", text))
    if _CONTINENTAL.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    return None


def _unit(word: str | None) -> tuple[str, Decimal]:
    return words.unit_of((word or "").strip(" -"))


def _multiple(match: re.Match[str]) -> Quantity:
    return Quantity(*words.MULTIPLES[str(match.lastgroup)])


def _share(match: re.Match[str]) -> Quantity:
    return Quantity(words.share_of(match), "%")


def _unmeasured(match: re.Match[str]) -> None:  # noqa: ARG001 - "thousands of" can not be quoted
    return None


def _counts(match: re.Match[str]) -> bool:
    """Return whether number words are a figure: not `one` alone, `zero-shot`, or `per million`."""
    text = (match["words"] or "").lower()
    before = match.string[max(0, match.start() - 5) : match.start()].rstrip().lower()
    if text == "one":
        return _unit(match["unit"])[0] in {"%", "$"}
    if text == "zero":
        return match.string[match.end() : match.end() + 1] != "-"
    return not (text in {"hundred", "thousand", "million", "billion"} and before.endswith(" per"))


def _in_words(match: re.Match[str]) -> Quantity:
    total = part = Decimal(0)
    for word in re.split(r"[ -]+", (match["words"] or match["folded"]).lower()):
        if word in words.CARDINALS:
            part += words.CARDINALS[word]
        elif word in {"hundred", "dozen"}:
            part = (part or 1) * words.SCALES[word]
        elif word != "and":
            total, part = total + (part or 1) * words.SCALES[word], Decimal(0)
    unit, factor = _unit("x" if match["folded"] else match["unit"])
    return Quantity((total + part) * factor, unit)


Reader = Callable[[re.Match[str]], Quantity | None]
_READERS: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (_NUMBER, _number),
    (words.FRACTIONS, _share),
    (words.MULTIPLIERS, _multiple),
    (_WORDS, _in_words),
    (words.VAGUE, _unmeasured),
    (_CHINESE, _unmeasured),
)


def _counts_the_visible(line: str, span: tuple[int, int]) -> bool:
    """Return whether a small number word counts what is there to see: "these two", "two ways"."""
    word, before, after = line[slice(*span)].lower(), line[: span[0]][-20:], line[span[1] :][:40]
    if word not in words.SMALL:
        return False
    definite = (before.split() or [""])[-1].lower() in words.DEFINITE
    return bool(words.STRUCTURAL.match(after)) or (
        definite and bool(re.match(rf" [A-Za-z{PLACE}]|[.,;:]", after))
    )


def _ordinal(match: re.Match[str]) -> str:
    number = int(match["counted"] or match["suffixed"] or match["ranked"])
    return _EXEMPT if number <= MAX_ORDINAL else match[0]


def _names(line: str) -> Iterator[str]:
    for match in _NAME.finditer(line):
        yield match[0].rstrip(".:/-+")


def _nameable(token: str) -> bool:
    """Return whether a token is a name and not an amount with its unit: x500 is, 500ms is not."""
    whole = _NUMBER.fullmatch(token)
    has_digit = any(c.isdigit() for c in token)
    return has_digit and whole is None and any(c.isalpha() for c in token)


def _name_tokens(name: str) -> Iterable[str]:
    if name.isdigit():
        return (name,)
    return (token.lower() for token in _names(_visible(name)) if _nameable(token))


def _moment(text: str) -> set[str]:
    """Return the ways a fact's time may be repeated: date, time of day, both, day and month."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return set()
    date, clock = f"{moment:%Y-%m-%d}", f"{moment:%H:%M}"
    return {date, clock, f"{date} {clock}", f"{moment.month}/{moment.day}"}


def _keys(match: re.Match[str]) -> frozenset[str]:
    if match["iso"]:
        return frozenset({f"{match['iso']} {match['at'][:5]}" if match["at"] else match["iso"]})
    if match["clock"]:
        return frozenset({match["clock"].rjust(5, "0")[:5]})
    name = (match["month"] or match["month2"]).lower()[:3]
    month = next(n for n, full in enumerate(words.MONTHS, 1) if full.startswith(name))
    day, year = int(match["day"] or match["day2"]), match["year"] or match["year2"]
    return frozenset({f"{year}-{month:02}-{day:02}" if year else f"{month}/{day}"})


def _figure(line: str, span: tuple[int, int]) -> Figure:
    start, end = span
    around = line[max(0, start - 30) : end + 30].replace(PLACE, "{{…}}").strip()
    return Figure(line[start:end].replace(PLACE, "{{…}}").strip(), around)
