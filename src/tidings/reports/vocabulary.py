"""The words and shapes that make a number a quantity, a name, a date or an ordinal."""

import re
from decimal import Decimal

SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TEENS = (
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
CARDINALS = {
    "zero": 0,
    "one": 1,
    **{word: n for n, word in enumerate(SMALL, 2)},
    **{word: n for n, word in enumerate(_TEENS, 11)},
    **{word: n * 10 for n, word in enumerate(_TENS, 2)},
}
SCALES = {
    "hundred": Decimal(100),
    "thousand": Decimal(1000),
    "million": Decimal(10**6),
    "billion": Decimal(10**9),
    "trillion": Decimal(10**12),
    "dozen": Decimal(12),
    "k": Decimal(1000),
    "m": Decimal(10**6),
    "mn": Decimal(10**6),
    "bn": Decimal(10**9),
    "b": Decimal(10**9),
    "tn": Decimal(10**12),
}
VAGUE = re.compile(
    r"\b(?:tens|dozens|hundreds|thousands|millions|billions|trillions|orders? of magnitude)\b",
    re.IGNORECASE,
)
MULTIPLIERS = re.compile(
    r"\b(?:(?P<two>twice|doubl(?:e|es|ed|ing))|(?P<three>thrice|tripl(?:e|es|ed|ing))"
    r"|(?P<four>quadrupl(?:e|es|ed|ing))|(?P<half>half|halv(?:e|es|ed|ing)))\b"
    r"(?!-(?:check|count|click|open|life))",
    re.IGNORECASE,
)
MULTIPLES = {
    "two": (Decimal(2), "x"),
    "three": (Decimal(3), "x"),
    "four": (Decimal(4), "x"),
    "half": (Decimal(50), "%"),
}
_PARTS = {
    "third": 3,
    "quarter": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
    "hundredth": 100,
}
FRACTIONS = re.compile(
    rf"\b(?P<some>an?|one|two|three|four)[ -](?P<part>{'|'.join(_PARTS)})"
    r"(?:s\b|\b(?= of\b| (?:less|more|lower|higher|fewer|cheaper|faster|slower|off)\b|\W*$))",
    re.IGNORECASE,
)

_UNITS: dict[str, tuple[str, str]] = {
    "%": ("%", "1"),
    "percent": ("%", "1"),
    "per cent": ("%", "1"),
    "pct": ("%", "1"),
    "x": ("x", "1"),
    "times": ("x", "1"),
    "fold": ("x", "1"),
    "ms": ("ms", "1"),
    "millisecond": ("ms", "1"),
    "s": ("ms", "1000"),
    "sec": ("ms", "1000"),
    "second": ("ms", "1000"),
    "min": ("ms", "60000"),
    "minute": ("ms", "60000"),
    "h": ("ms", "3600000"),
    "hour": ("ms", "3600000"),
    "day": ("day", "1"),
    "week": ("day", "7"),
    "month": ("month", "1"),
    "quarter": ("month", "3"),
    "year": ("month", "12"),
    "$": ("$", "1"),
    "€": ("€", "1"),
    "£": ("£", "1"),
    "usd": ("$", "1"),
    "gbp": ("£", "1"),
    "dollar": ("$", "1"),
    "buck": ("$", "1"),
    "cent": ("$", "0.01"),
    "eur": ("€", "1"),
    "euro": ("€", "1"),
    "request": ("request", "1"),
    "call": ("request", "1"),
    "token": ("token", "1"),
    "row": ("row", "1"),
    "user": ("user", "1"),
    "error": ("error", "1"),
    "failure": ("error", "1"),
    "retry": ("retry", "1"),
    "duplicate": ("duplicate", "1"),
    "customer": ("customer", "1"),
}
_PLURALS = {"retries": "retry", "mins": "min", "secs": "sec", "hr": "h", "hrs": "h"}
UNIT = (
    r"(?:[%$€£]|(?:per ?cent|pct|times|fold|x|ms|millisecond|s|sec|second|min|minute|h|hr|hour|day"
    r"|week|month|quarter|year|usd|gbp|dollar|buck|cent|eur|euro|request|call|token|row|user|error"
    r"|failure|retry|retries|duplicate|customer)s?\b)"
)
PERCENTILES = r"(?:25|50|75|90|95|98|99(?:\.9)?|999)"

_FAMILY = (
    r"(?:chatgpt|gpt|claude|gemini|gemma|llama|mistral|mixtral|ministral|codestral|qwen|deepseek|phi"
    r"|command|nova|titan|grok|sonar|text-embedding|whisper|dall-e|sonnet|opus|haiku|kimi|glm)"
)
_VARIANT = (
    r"(?:mini|nano|micro|turbo|preview|instruct|chat|pro|flash|lite|ultra|sonnet|opus|haiku|latest|vision"
    r"|audio|realtime|large|small|medium|exp|thinking|codex|vl|r|plus|it|versatile|instant|maverick|scout"
    r"|nemo|coder|reasoner|search|deep|research|image|max|next|premier|v)"
)
_PART = rf"(?:{_VARIANT}|v?\d{{1,2}}[ox]?|\d{{1,3}}[bkm]|\d{{1,2}}x\d{{1,2}}b|\d{{4}}|\d{{8}})"
_EDGE = r"(?<![\w$€£.-])"
_END = r"(?![\w%]|[.,:]\d|\ufffc)"
TERMS = re.compile(
    _EDGE + r"(?:"
    # models, by family and version: gpt-4o-mini, claude-3-5-sonnet-20241022, llama-3.1-70b, o3-mini
    rf"{_FAMILY}-?{_PART}(?:[-.@:_]{_PART}){{0,7}}|{_FAMILY}(?:[-.@:_]{_PART}){{1,7}}"
    rf"|o[1-9](?:-{_PART}){{0,7}}"
    rf"|{_FAMILY} \d{{1,2}}(?:\.\d)? (?:sonnet|opus|haiku|flash|pro|turbo|mini|nano|ultra|lite)"
    # percentiles
    rf"|(?:[a-z]+_)*p{PERCENTILES}(?:_ms)?|{PERCENTILES}th[ -]percentiles?"
    # technical terms
    r"|http/[123](?:\.[01])?|sha-?(?:1|256|512)|md5|utf-?(?:8|16)|iso[ -]?8601|rfc[ -]?3339|base64"
    r"|ipv[46]|x86(?:_64)?|k8s|s3|ec2|r2|oauth2|int[48]|(?:bf|fp)16|fp8|v[1-9]|24/7"
    r")" + _END,
    re.IGNORECASE,
)

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH = "(?:" + "|".join(f"{month[:3]}(?:{month[3:]})?" for month in MONTHS) + r")\b\.?"
_TIME = r"\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_YEAR = r"(?:,? (?P<{0}>\d{{4}})\b)?"
DATES = re.compile(
    rf"(?<![\w.-])(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})(?:(?:T|,? )(?P<at>\d{{2}}:{_TIME}))?"
    r"(?:Z| ?UTC|[+-]\d{2}:\d{2})?(?![\w%-]|[.:]\d| ?%)"
    rf"|(?<![\w.-])(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month>{_MONTH})"
    rf"{_YEAR.format('year')}"
    rf"|\b(?P<month2>{_MONTH}) (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\b{_YEAR.format('year2')}"
    r"(?!\w|[.,:-]\d| ?%)"
    rf"|(?<![\w.:-])(?P<clock>\d{{1,2}}:{_TIME})(?: ?UTC|Z)?(?![\w%:-]|[.]\d| ?%)",
    re.IGNORECASE,
)

MARKER = re.compile(
    r"^\s*(?:[>+#-]+\s+)*(?P<n>\d{1,9})[.)](?=\s|$)|^\s*#+\s+(?P<h>\d{1,2})(?=\s+\S)"
)
ORDINALS = re.compile(
    r"\b(?:step|option|phase|part|section|question|action|choice|priority|tier|level|point|figure"
    r"|table) #?(?P<counted>\d{1,2})\b(?! ?%|[.,:/-]?\d|-|\ufffc)"
    r"|(?<![\w.,-])(?P<suffixed>\d{1,2})(?:st|nd|rd|th)\b(?!-)"
    r"|(?<![\w#])#(?P<ranked>\d{1,2})\b(?!\s?%|[.,:/-]?\d|\ufffc)",
    re.IGNORECASE,
)
STATUS_CODE = re.compile(
    r"\b(?:http|status|errors?|codes?)(?: codes?)?(?: |: ?|=)(?P<code>\d{3})\b"
    r"(?! ?%|[.,]\d|\ufffc)",
    re.IGNORECASE,
)

# Beside these a small number word only counts what is there to see: "the two", "three ways".
DEFINITE = frozenset(
    {"the", "these", "those", "all", "any", "either", "other", "last", "first", "next", "your"}
)
STRUCTURAL = re.compile(
    r"[ -](?:[a-z-]+ )?(?:way|option|step|thing|choice|reason|part|question|change|point|action"
    r"|section|case|side|lever|kind|type|place|measure|idea|end|field)s?\b",
    re.IGNORECASE,
)


def unit_of(word: str) -> tuple[str, Decimal]:
    """Return the class of a unit word and its factor within the class; `""` for none."""
    word = word.lower().strip()
    word = _PLURALS.get(word, word)
    for candidate in (word, word.removesuffix("s"), word.replace(" ", "")):
        if candidate in _UNITS:
            name, factor = _UNITS[candidate]
            return name, Decimal(factor)
    return "", Decimal(1)


def share_of(match: re.Match[str]) -> Decimal:
    """Return a fraction in words, "two thirds", as percent."""
    some = {"a": 1, "an": 1, **CARDINALS}[match["some"].lower()]
    return (Decimal(100) * some / _PARTS[match["part"].lower()]).quantize(Decimal("0.01"))
