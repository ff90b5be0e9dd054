"""Every token that we did not issue, or that is not for now, gets one and the same answer."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.conftest import KEY
from tidings.domain.context import UserContext
from tidings.domain.errors import Unauthenticated
from tidings.identity.tokens import ACCESS_TTL_SECONDS, LEEWAY_SECONDS, Tokens

NOW = 1_800_000_000
CONTEXT = UserContext("default", "u_1", "ses_1")
TOKENS = Tokens(KEY)
GOOD = TOKENS.issue(CONTEXT, "jti_1", NOW)
HEADER = {"alg": "HS256", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": "tidings",
    "aud": "tidings",
    "sub": "u_1",
    "sid": "ses_1",
    "tid": "default",
    "iat": NOW,
    "exp": NOW + ACCESS_TTL_SECONDS,
    "jti": "jti_1",
}


def part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(header: Any, claims: Any, key: bytes = KEY) -> str:
    """Sign whatever is given, as only someone with the key could; bytes go in as they are."""
    texts = (v if isinstance(v, bytes) else json.dumps(v).encode() for v in (header, claims))
    signed = ".".join(part(text) for text in texts)
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def with_header(**changes: Any) -> str:
    return forge(HEADER | changes, CLAIMS)


def with_claims(**changes: Any) -> str:
    return forge(HEADER, CLAIMS | changes)


def without(name: str) -> str:
    return forge(HEADER, {k: v for k, v in CLAIMS.items() if k != name})


def raw_exp(text: str) -> str:
    return forge(HEADER, json.dumps(CLAIMS).replace(str(CLAIMS["exp"]), text).encode())


def unsigned(alg: str) -> str:
    return (
        f"{part(json.dumps(HEADER | {'alg': alg}).encode())}.{part(json.dumps(CLAIMS).encode())}."
    )


HEAD, BODY, SIGNATURE = GOOD.split(".")
DEEP = b"[" * 100_000
BAD: dict[str, str] = {
    "nothing": "",
    "words": "not a token",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": GOOD + ".x",
    "unsigned": unsigned("none"),
    "unsigned, odd case": unsigned("nOnE"),
    "alg none, signed": with_header(alg="none"),
    "empty signature": f"{HEAD}.{BODY}.",
    "short signature": GOOD[:-4],
    "other key": forge(HEADER, CLAIMS, b"x" * 32),
    "empty key": forge(HEADER, CLAIMS, b""),
    "public key as secret": forge(HEADER, CLAIMS, b"-----BEGIN PUBLIC KEY-----"),
    "RS256": with_header(alg="RS256"),
    "HS512": with_header(alg="HS512"),
    "alg is a list": with_header(alg=["HS256"]),
    "kid path": with_header(kid="../../etc/passwd"),
    "kid sql": with_header(kid="' OR 1=1"),
    "kid huge": with_header(kid="k" * 10_000),
    "jku": with_header(jku="https://evil.example/keys"),
    "x5u": with_header(x5u="https://evil.example/cert"),
    "jwk": with_header(jwk={"kty": "oct", "k": part(KEY)}),
    "crit": with_header(crit=["x"]),
    "b64 false": with_header(b64=False, crit=["b64"]),
    "no typ": forge({"alg": "HS256"}, CLAIMS),
    "typ JWT": with_header(typ="JWT"),
    "typ logout": with_header(typ="logout+jwt"),
    "header is a list": forge([HEADER], CLAIMS),
    "header twice": forge(b'{"alg":"HS256","alg":"HS256","typ":"at+jwt"}', CLAIMS),
    "sub twice": forge(HEADER, json.dumps(CLAIMS).replace("{", '{"sub":"admin",', 1).encode()),
    "claims are a list": forge(HEADER, [CLAIMS]),
    "claims are null": forge(HEADER, b"null"),
    "claims are not JSON": forge(HEADER, b"{"),
    "claims are not UTF-8": forge(HEADER, b"\xff\xfe"),
    "claims have a NUL": forge(HEADER, json.dumps(CLAIMS).encode() + b"\0"),
    "deep, small": forge(HEADER, b"[" * 5_000),
    "deep, big": f"{HEAD}.{part(DEEP)}.{SIGNATURE}",
    "well signed, too long": with_claims(jti="j" * 8_000),
    "four megabytes": "a" * 4_000_000,
    "non-ascii": GOOD[:-1] + "é",
    "NUL": GOOD + "\0",
    "surrogate": GOOD + "\ud800",
    "space before": " " + GOOD,
    "newline after": GOOD + "\n",
    "padding": GOOD + "=",
    "exp 10**400": with_claims(exp=10**400),
    "exp 5000 digits": raw_exp("9" * 4_500),
    "exp 1e308": with_claims(exp=1e308),
    "exp 1e999": raw_exp("1e999"),
    "exp float": with_claims(exp=float(NOW + 60)),
    "exp NaN": raw_exp("NaN"),
    "exp text": with_claims(exp=str(NOW + 60)),
    "exp list": with_claims(exp=[NOW + 60]),
    "exp true": with_claims(exp=True),
    "exp null": with_claims(exp=None),
    "exp negative": with_claims(exp=-1),
    "iat float": with_claims(iat=float(NOW)),
    "iat text": with_claims(iat=str(NOW)),
    "lives too long": with_claims(exp=NOW + ACCESS_TTL_SECONDS + 1),
    "ends before it begins": with_claims(exp=NOW - 1, iat=NOW),
    "from the future": with_claims(
        iat=NOW + LEEWAY_SECONDS + 1, exp=NOW + LEEWAY_SECONDS + ACCESS_TTL_SECONDS
    ),
    "nbf ahead": with_claims(nbf=NOW + 3600),
    "unknown claim": with_claims(role="admin"),
    "wrong aud": with_claims(aud="other"),
    "aud list": with_claims(aud=["tidings"]),
    "wrong iss": with_claims(iss="https://evil.example"),
    "sub empty": with_claims(sub=""),
    "sub number": with_claims(sub=1),
    "sub hostile": with_claims(sub="' OR 1=1 --"),
    "sid empty": with_claims(sid=""),
    "jti empty": with_claims(jti=""),
    **{f"no {name}": without(name) for name in CLAIMS},
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
def test_a_bad_token_is_refused_with_the_one_constant_answer(token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        TOKENS.verify(token, NOW)
    assert (refusal.value.code, refusal.value.message) == ("token_invalid", "Sign in again.")


def test_the_forging_tool_of_these_tests_can_make_a_good_token() -> None:
    """Otherwise the table above would prove nothing."""
    assert TOKENS.verify(forge(HEADER, CLAIMS), NOW).context() == CONTEXT
    assert TOKENS.verify(GOOD, NOW).context() == CONTEXT


@pytest.mark.parametrize(
    ("now", "good"),
    [
        (NOW - LEEWAY_SECONDS, True),
        (NOW - LEEWAY_SECONDS - 1, False),
        (NOW + ACCESS_TTL_SECONDS + 29, True),
        (NOW + ACCESS_TTL_SECONDS + 30, False),
        (NOW + ACCESS_TTL_SECONDS + 31, False),
    ],
)
def test_clocks_may_differ_by_thirty_seconds_and_not_by_one_more(now: int, good: bool) -> None:
    def verify() -> UserContext:
        return TOKENS.verify(GOOD, now).context()

    if good:
        assert verify() == CONTEXT
    else:
        with pytest.raises(Unauthenticated):
            verify()


def _flip(token: str, at: int, to: str) -> str:
    at %= len(token)
    return token[:at] + to + token[at + 1 :]


def _cut(token: str, at: int, _to: str) -> str:
    at %= len(token)
    return token[:at] + token[at + 1 :]


def _insert(token: str, at: int, to: str) -> str:
    at %= len(token) + 1
    return token[:at] + to + token[at:]


def _swap(token: str, at: int, _to: str) -> str:
    at %= len(token)
    return token[at:] + token[:at]


@settings(max_examples=2_000, deadline=None, database=None)
@given(
    mutate=st.sampled_from([_flip, _cut, _insert, _swap]),
    at=st.integers(min_value=0, max_value=10_000),
    to=st.one_of(st.sampled_from("ABab01-_.=+/ {"), st.characters()),
)
def test_no_mutation_of_a_good_token_is_accepted(
    mutate: Callable[[str, int, str], str], at: int, to: str
) -> None:
    mutant = mutate(GOOD, at, to)
    if mutant == GOOD:
        return
    with pytest.raises(Unauthenticated):
        TOKENS.verify(mutant, NOW)
