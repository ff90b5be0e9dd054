"""A figure that no fact justifies is found, however it is dressed; what needs no fact passes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.reports.samples import fact
from tidings.domain.facts import Unit
from tidings.reports.figures import Grounds, figures, ungrounded

QUESTION = """Cut cost 20 % with 500 ms more for x500, three times faster;
the bill is $1,200.50, half of it is chat."""
FACTS = {
    f.id: f
    for f in (
        fact("c2.total", 1.0),
        fact("c2.r0.model", "gpt-9-foo", Unit.NAME),
        fact("c2.r1.feature", "feature7", Unit.NAME),
        fact("c3.r0.error_code", "429", Unit.NAME),
        fact("c1.peak", "2023-11-16T18:17:00Z", Unit.TIME),
    )
}
GROUNDS = Grounds.of(QUESTION, FACTS)
NOTHING = Grounds.of("", {})

GUISES = {
    "plain": "{}",
    "code": "`{}`",
    "fence": "\n```\nlimit {}\n```\n",
    "link": "[{}](https://example.com)",
    "address": "<https://example.com/{}>",
    "latex": "$\\mathbf{{{}}}$",
    "emphasis": "**{}**",
    "tag": "<b title='{}'></b>",
    "currency": "${}",
    "code of a currency": "USD{}",
    "glued": "about-{}-dollars",
    "cell": "| saved | {} |",
    "quoted": "> {}",
    "bracketed": "({})",
    "escaped": "\\{}",
    "beside a fact": "{}{{{{fact:c2.total}}}}",
    "percent": "{} %",
    "unit": "{} ms",
}
SCRIPTS = {
    "ascii": "0123456789",
    "full width": "".join(chr(0xFF10 + n) for n in range(10)),
    "arabic": "".join(chr(0x0660 + n) for n in range(10)),
    "devanagari": "".join(chr(0x0966 + n) for n in range(10)),
    "superscript": "⁰¹²³⁴⁵⁶⁷⁸⁹",
    "subscript": "₀₁₂₃₄₅₆₇₈₉",
    "mathematical": "".join(chr(0x1D7CE + n) for n in range(10)),
    "circled": "⓪①②③④⑤⑥⑦⑧⑨",
}
NUMBERS = st.one_of(
    st.integers(min_value=-(10**12), max_value=10**12).map(str),
    st.integers(min_value=1000, max_value=10**12).map(lambda n: f"{n:,}"),
    st.integers(min_value=1000, max_value=10**12).map(lambda n: f"{n:,}".replace(",", " ")),
    st.decimals(min_value=0, max_value=10**6, places=2).map(str),
)


@given(NUMBERS, st.sampled_from(sorted(GUISES)), st.sampled_from(sorted(SCRIPTS)))
@example("4", "plain", "superscript")
@example("0", "glued", "ascii")
def test_every_number_in_every_guise_and_script_is_found(
    number: str, guise: str, script: str
) -> None:
    dressed = number.translate(str.maketrans("0123456789", SCRIPTS[script]))
    text = "The trial saved " + GUISES[guise].format(dressed) + " in all."

    assert ungrounded(text, NOTHING)


@given(
    NUMBERS, st.sampled_from(["\u200b", "\u00ad", "\u2060", "\u0336", "<b></b>", "*", "&#8203;"])
)
def test_a_number_broken_by_what_nobody_sees_is_found(number: str, invisible: str) -> None:
    assert ungrounded("It saved " + invisible.join(number) + " dollars.", NOTHING)


@given(st.integers(min_value=0, max_value=10**6))
def test_a_number_of_entities_is_found(number: int) -> None:
    assert ungrounded("".join(f"&#{ord(c)};" for c in str(number)), NOTHING)
    assert ungrounded("".join(f"&#x{ord(c):x};" for c in str(number)), NOTHING)


@given(st.text(max_size=200))
def test_any_text_can_be_judged(text: str) -> None:
    found = {figure.text for figure in figures(text)}

    assert all(not character.isdigit() for character in text) or found


@pytest.mark.parametrize(
    "text",
    [
        "twelve duplicates",
        "forty-two requests",
        "twice as much",
        "the cost doubled",
        "a third of it",
        "two thirds",
        "tenfold",
        "thousands of requests",
        "one million",
        "five requests",
        "zero errors",
        "an order of magnitude",
        "½",
        "4️⃣",
        "🔟",
        "三百",
    ],
)
def test_quantities_in_words_and_signs_are_figures(text: str) -> None:
    assert ungrounded(f"It is {text} now.", NOTHING)


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4o, gpt-4o-mini-2024-07-18, claude-3-5-sonnet-20241022 and Claude 3.5 Sonnet",
        "llama-3.1-70b against o3-mini",
        "gpt-9-foo serves feature7, see call c2.",
        "p95, p99_ms, ttft_p50_ms and the 95th percentile",
        "HTTP 429 over HTTP/2, in UTF-8",
        "1. Count\n2. Compare\n   more\n3. Move",
        "## 1. Where\n\n## 2. What\n\nStep 2, option 3, the 1st and 2nd",
        "20%, 20 %, -20 %, 20 percent, twenty percent",
        "500ms, 500 ms, 0.5 s",
        "3x, 3 times, three times; $1,200.50; 1200.50 dollars; x500; half",
        "these two, the two features, in three ways, one of them, zero-shot, per million tokens",
        "2023-11-16, 2023-11-16 18:17 UTC, 18:17, November 16, 2023, 16 November",
        "- {{fact:c2.total}}, **{{fact:c2.total}}**, {{fact:c2.total}}\u2013{{fact:c2.total}}",
        "double-check it",
    ],
)
def test_what_is_quoted_known_or_an_ordinal_needs_no_fact(text: str) -> None:
    assert ungrounded(text, GROUNDS) == ()


@pytest.mark.parametrize(
    "text",
    [
        "42. That is what you saved",
        "Save $500",
        "500 s",
        "20 users",
        "+20 $",
        "500 ms2",
        "gpt-500",
        "x501",
        "call c9",
        "429 requests",
        "HTTP 404",
        "2023-11-17",
        "18:18",
        "May 5th",
        "99th place",
        "top 10",
        "gpt-4o500",
        "500 ms \u00d7 2",
        "1.\u200b500 requests",
    ],
)
def test_what_only_resembles_something_known_is_found(text: str) -> None:
    assert ungrounded(text, GROUNDS)


@pytest.mark.parametrize("text", ["-{}", "${}", "{}k", "{} million", "{}%", "{}{}", "{}.5", "1 {}"])
def test_a_fact_may_not_be_changed_by_what_stands_beside_it(text: str) -> None:
    assert ungrounded(f"It is {text.replace('{}', '{{fact:c2.total}}')}", GROUNDS)


@pytest.mark.parametrize(
    "text", ["1" * 60_000, "1," * 30_000, "one " * 15_000, "gpt-" + "1-" * 30_000]
)
def test_a_huge_text_is_judged(text: str) -> None:
    assert ungrounded(text, GROUNDS)
