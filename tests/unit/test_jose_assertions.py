"""Assertions of applications: what is accepted, and the known tricks with JWTs."""

import base64
import json
import string
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assertions import HEADER, assertion, b64, claims_for, signed
from chatbot.adapters.security.jose_assertions import LEEWAY_S, JoseAssertions
from chatbot.adapters.security.jwts import MAX_TOKEN_CHARS
from chatbot.domain.assertions import END_USER, Assertion, AssertionKind
from chatbot.domain.errors import InvalidAssertion
from chatbot.domain.identity import ClientId

SECRET = "Zq7vX2nB9kL4mT6wR1yH8cJ3dF5gP0sAeUiO"
CLIENT = ClientId("intranet")
OPEN_WEBUI = AssertionKind(
    header="X-Other", audience=None, is_single_use=False, max_lifetime_s=3600
)
READER = JoseAssertions(clock=lambda: datetime.now(UTC))


def read(
    raw: str, kind: AssertionKind = END_USER, *, secret: str = SECRET, issuer: str = CLIENT
) -> Assertion:
    return READER.read(raw, kind, secret=secret, issuer=ClientId(issuer))


def test_assertion_names_a_person_by_id_or_by_address_or_both() -> None:
    by_id = read(assertion(SECRET, CLIENT, sub="u1", jti="once"))
    assert (by_id.user_id, by_id.email, by_id.nonce) == ("u1", None, "once")
    by_email = read(assertion(SECRET, CLIENT, email=" Ana@Example.com"))
    assert (by_email.user_id, by_email.email) == (None, "ana@example.com")
    both = read(assertion(SECRET, CLIENT, sub="u1", email="ana@example.com"))
    assert (both.user_id, both.email) == ("u1", "ana@example.com")


def test_libraries_may_order_the_header_and_add_their_own_claims() -> None:
    claims = claims_for(CLIENT, sub="u1", name="Ana", roles=["admin"], nbf=int(time.time()))
    for header in (
        b'{"typ":"JWT","alg":"HS256"}',
        b'{ "alg" : "HS256" }',
        b'{"alg":"HS256","typ":"JWT","kid":"k1"}',
    ):
        assert read(signed(header, json.dumps(claims).encode(), SECRET)).user_id == "u1"


def test_another_kind_may_lack_audience_and_single_use_and_live_longer() -> None:
    now = int(time.time())
    raw = assertion(SECRET, CLIENT, email="ana@example.com", aud=None, jti=None, exp=now + 3600)
    found = read(raw, OPEN_WEBUI)
    assert (found.email, found.nonce) == ("ana@example.com", None)
    assert found.expires_at == datetime.fromtimestamp(now + 3600, UTC)
    with pytest.raises(InvalidAssertion):
        read(raw)


def at(seconds: float) -> int:
    return int(time.time() + seconds)


WRONG: dict[str, list[object]] = {
    "iss": [None, "", "other", "Intranet", ["intranet"], 1, True],
    "aud": [None, "", "other", ["chatbot"], ["chatbot", "x"], 1],
    "sub": [None, "", 1, True, ["u1"], "x" * 256, "a\x00", "\ud800", "a\u202e"],
    "email": ["", "ana", "a@b@c", "a b@c", 1, [], "\ud800@x"],
    "jti": [None, "", 1, ["x"], "x" * 256, "\n"],
    "iat": [None, "1", 1.5, True, [], 10**400],
    "exp": [None, "1", 1.5, True, [], 10**400],
    "nbf": ["1", 1.5, 10**400],
}


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, each) for name, values in WRONG.items() for each in values]
)
def test_claim_that_is_missing_or_of_another_form_is_refused(name: str, wrong: object) -> None:
    with pytest.raises(InvalidAssertion):
        read(assertion(SECRET, CLIENT, **({"sub": "u1"} | {name: wrong})))


def test_times_are_bounded() -> None:
    def accepted(**times: float) -> bool:
        given = {name: at(seconds) for name, seconds in times.items()}
        try:
            read(assertion(SECRET, CLIENT, sub="u1", **given))
        except InvalidAssertion:
            return False
        return True

    assert accepted(iat=0, exp=300)
    assert not accepted(iat=0, exp=301), "it lives for too long"
    assert not accepted(iat=0, exp=10**9)
    assert not accepted(iat=-60, exp=-1), "it has expired, and there is no leeway"
    assert not accepted(iat=-60, exp=0)
    assert accepted(iat=LEEWAY_S - 5, exp=200), "clocks differ a little"
    assert not accepted(iat=LEEWAY_S + 5, exp=200), "it is from the future"
    assert not accepted(iat=0, nbf=LEEWAY_S + 5, exp=200)
    assert not accepted(iat=30, exp=20), "it ends before it begins"
    assert not accepted(iat=20, exp=20)
    assert not accepted(iat=-400, exp=-200)


def test_expiry_follows_the_clock_of_the_service() -> None:
    raw = assertion(SECRET, CLIENT, sub="u1")
    later = JoseAssertions(clock=lambda: datetime.now(UTC) + timedelta(seconds=61))
    with pytest.raises(InvalidAssertion):
        later.read(raw, END_USER, secret=SECRET, issuer=CLIENT)


def test_secret_and_issuer_are_those_of_the_key() -> None:
    raw = assertion(SECRET, CLIENT, sub="u1")
    for secret, issuer in ((SECRET[::-1], CLIENT), (SECRET, "other"), ("", CLIENT), ("x", CLIENT)):
        with pytest.raises(InvalidAssertion):
            read(raw, secret=secret, issuer=issuer)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "JWT"},
        {"alg": "None"},
        {"alg": "HS384"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": "hs256"},
        {"alg": ["HS256"]},
        {"typ": "JWT"},
        {},
        HEADER | {"typ": "at+jwt"},
        HEADER | {"typ": "JWE"},
        HEADER | {"crit": ["exp"]},
        HEADER | {"b64": False, "crit": ["b64"]},
        HEADER | {"jku": "https://attacker.example/keys"},
        HEADER | {"jwk": {"kty": "oct", "k": b64(b"x" * 32)}},
        HEADER | {"x5u": "https://attacker.example/cert"},
        HEADER | {"zip": "DEF"},
        HEADER | {"enc": "A256GCM"},
        [],
        "HS256",
        None,
    ],
    ids=str,
)
def test_header_that_asks_for_something_else_is_refused(header: object) -> None:
    payload = json.dumps(claims_for(CLIENT, sub="u1")).encode()
    with pytest.raises(InvalidAssertion):
        read(signed(json.dumps(header).encode(), payload, SECRET))


def test_signature_is_of_the_one_algorithm_and_of_every_byte() -> None:
    header, payload = json.dumps(HEADER).encode(), json.dumps(claims_for(CLIENT, sub="u1")).encode()
    head, body, signature = signed(header, payload, SECRET).split(".")
    admin = b64(json.dumps(claims_for(CLIENT, sub="admin")).encode())
    for forged in (
        signed(header, payload, SECRET, algorithm="sha512"),
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{admin}.{signature}",
        f"{head}.{body}.{signature}.{signature}",
        f"{head}.{body}.{signature}=",
        f"{head}.{body}.{signature[:-1]}",
        f" {head}.{body}.{signature}",
        f"{head}.{body}.{signature}\n",
        f"{head}..{signature}",
        f"{head}.{body}.{base64.b64encode(b'+/' * 16).decode()}",
        "",
        "...",
    ):
        with pytest.raises(InvalidAssertion):
            read(forged)


def test_last_character_cannot_be_exchanged_for_one_that_decodes_alike() -> None:
    raw = assertion(SECRET, CLIENT, sub="u1")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    twins = [raw[:-1] + char for char in alphabet if char != raw[-1]]
    for twin in twins:
        with pytest.raises(InvalidAssertion):
            read(twin)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b"\xff",
        b"[" * 2000,
        b'{"sub":"u1","sub":"admin"}',
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_payload_that_is_no_plain_object_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidAssertion):
        read(signed(json.dumps(HEADER).encode(), payload, SECRET))


def test_duplicate_claims_and_header_parameters_are_refused() -> None:
    claims = json.dumps(claims_for(CLIENT, sub="u1"))
    doubled = claims[:-1] + ',"sub":"admin"}'
    with pytest.raises(InvalidAssertion):
        read(signed(json.dumps(HEADER).encode(), doubled.encode(), SECRET))
    with pytest.raises(InvalidAssertion):
        read(signed(b'{"alg":"none","alg":"HS256"}', claims.encode(), SECRET))


def test_size_is_bounded_before_anything_is_decoded() -> None:
    padding = MAX_TOKEN_CHARS - len(assertion(SECRET, CLIENT, sub="u1", note=""))
    longest = assertion(SECRET, CLIENT, sub="u1", note="x" * (padding * 3 // 4 - 3))
    assert len(longest) > MAX_TOKEN_CHARS - 10
    assert read(longest).user_id == "u1"
    with pytest.raises(InvalidAssertion):
        read(assertion(SECRET, CLIENT, sub="u1", note="x" * padding))


@given(st.text(max_size=200))
def test_no_text_makes_it_fail_otherwise(raw: str) -> None:
    with pytest.raises(InvalidAssertion):
        read(raw)
