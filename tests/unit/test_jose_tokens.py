"""Access tokens: only our own tokens are valid, unchanged and unexpired."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from jose import jwt

from chatbot.adapters.security.jose_tokens import LEEWAY_S, JoseTokens
from chatbot.adapters.security.jwts import MAX_TOKEN_CHARS
from chatbot.domain.errors import InvalidToken
from chatbot.domain.identity import FamilyId, User, UserId
from chatbot.domain.ports.security import Claims

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
TTL_S = 3600
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
T = int(NOW.timestamp())
USER = User(
    id=UserId("u1"),
    email="eva@acme.es",
    password_hash="hash",
    roles=("employee",),
    department="Ventas",
    created_at=NOW,
)
CLAIMS = Claims(user_id=USER.id, token_stamp=USER.token_stamp, family_id=FamilyId("s1"))
MESSAGE = "The token is invalid or has expired: log in again."


class SettableClock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def tokens(clock: SettableClock) -> JoseTokens:
    return JoseTokens(SECRET, ttl_s=TTL_S, clock=clock)


@pytest.fixture
def token(tokens: JoseTokens) -> str:
    return issue(tokens)


def issue(tokens: JoseTokens, user: User = USER) -> str:
    return tokens.issue(user, family_id=FamilyId("s1"), token_id="f" * 32, at=NOW)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def signed(header: str, payload: str, *, secret: str = SECRET, digest: str = "sha256") -> str:
    signing_input = f"{header}.{payload}"
    return f"{signing_input}.{encode(hmac.digest(secret.encode(), signing_input.encode(), digest))}"


def header_of(tokens: JoseTokens) -> str:
    return issue(tokens).split(".")[0]


def good_claims() -> dict[str, object]:
    return {
        "iss": "chatbot",
        "aud": "chatbot",
        "sub": "u1",
        "jti": "j",
        "iat": T,
        "nbf": T,
        "exp": T + TTL_S,
        "ver": USER.token_stamp,
        "sid": "s1",
    }


def with_payload(tokens: JoseTokens, payload: str | bytes) -> str:
    """Return a token with our header and a valid signature over any payload."""
    raw = payload.encode() if isinstance(payload, str) else payload
    return signed(header_of(tokens), encode(raw))


def with_claims(tokens: JoseTokens, **changes: object) -> str:
    return with_payload(tokens, json.dumps({**good_claims(), **changes}))


def assert_invalid(tokens: JoseTokens, raw_token: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        tokens.read(raw_token)
    assert str(refused.value) == MESSAGE


def test_issued_token_can_be_read(tokens: JoseTokens, token: str) -> None:
    assert tokens.read(token) == CLAIMS


def test_handmade_claims_are_valid_unless_a_test_changes_them(tokens: JoseTokens) -> None:
    assert tokens.read(with_claims(tokens)) == CLAIMS


def test_a_token_is_a_standard_jwt_that_carries_its_hints(token: str) -> None:
    assert jwt.get_unverified_header(token).keys() == {"alg", "typ", "kid"}
    claims = json.loads(decode(token.split(".")[1]))
    assert claims["iss"] == claims["aud"] == "chatbot"
    assert (claims["roles"], claims["department"]) == (["employee"], "Ventas")
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (T, T, T + TTL_S)
    assert claims["jti"] == "f" * 32


def test_every_change_of_one_byte_makes_a_token_invalid(tokens: JoseTokens, token: str) -> None:
    """Every position with every other byte: exhaustive, not a sample."""
    accepted = [
        (at, new)
        for at, old in enumerate(token)
        for new in map(chr, range(256))
        if new != old and is_read(tokens, token[:at] + new + token[at + 1 :])
    ]
    assert accepted == []


def is_read(tokens: JoseTokens, raw_token: str) -> bool:
    try:
        tokens.read(raw_token)
    except InvalidToken:
        return False
    return True


def test_every_cut_repetition_and_insertion_makes_a_token_invalid(
    tokens: JoseTokens, token: str
) -> None:
    for at in range(len(token)):
        changed = {token[:at], token[at + 1 :], token[:at] + token[at + 1 :]}
        changed |= {token[:at] + new + token[at:] for new in (token[at], *"A_.=\n \0")}
        changed |= {token[:at] + token[at - 1 : at + 1][::-1] + token[at + 1 :]}
        assert not [one for one in changed - {token} if is_read(tokens, one)]
    for extra in ("A", "=", ".", "\n", " ", ".A", "\x00", token, f".{token}"):
        assert_invalid(tokens, token + extra)


@pytest.mark.parametrize(
    "raw_token",
    ["", ".", "..", "...", "a.b.c", "x", "\ud800", "é.é.é", "A" * 100, "Bearer x", "null", "{}"],
)
def test_garbage_is_invalid(tokens: JoseTokens, raw_token: str) -> None:
    assert_invalid(tokens, raw_token)


def test_another_secret_is_invalid(tokens: JoseTokens, clock: SettableClock) -> None:
    other = JoseTokens(SECRET + "x", ttl_s=TTL_S, clock=clock)
    assert_invalid(tokens, issue(other))
    header, payload, _ = issue(tokens).split(".")
    assert_invalid(tokens, signed(header, payload, secret=SECRET + "x"))


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", "sha384"), ("HS512", "sha512")])
def test_another_hmac_is_invalid(tokens: JoseTokens, algorithm: str, digest: str) -> None:
    kid = json.loads(decode(header_of(tokens)))["kid"]
    header = json.dumps({"alg": algorithm, "kid": kid, "typ": "JWT"}, separators=(",", ":"))
    assert_invalid(
        tokens, signed(encode(header.encode()), encode(json.dumps(good_claims()).encode()))
    )
    assert_invalid(tokens, jwt.encode(good_claims(), SECRET, algorithm, headers={"kid": kid}))
    header, payload, _ = issue(tokens).split(".")
    assert_invalid(tokens, signed(header, payload, digest=digest))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "RS256", "ES256", "hs256", "dir"]
)
def test_an_algorithm_that_needs_no_secret_is_invalid(tokens: JoseTokens, algorithm: str) -> None:
    ours = json.loads(decode(header_of(tokens)))
    header = encode(json.dumps({**ours, "alg": algorithm}, separators=(",", ":")).encode())
    payload = encode(json.dumps(good_claims()).encode())
    for raw_token in (f"{header}.{payload}.", f"{header}.{payload}.AA", signed(header, payload)):
        assert_invalid(tokens, raw_token)


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"HS256","typ":"JWT"}',
        '{"alg":"HS256","kid":"KID"}',
        '{"alg":"HS256","kid":"00000000","typ":"JWT"}',
        '{"alg":"HS256","kid":null,"typ":"JWT"}',
        '{"alg":"HS256","kid":"KID","typ":"at+jwt"}',
        '{"alg":"HS256","kid":"KID","typ":"JWT","crit":["b64"],"b64":false}',
        '{"alg":"HS256","kid":"KID","typ":"JWT","jku":"https://attacker.example/keys"}',
        '{"alg":"HS256","kid":"KID","typ":"JWT","jwk":{"kty":"oct","k":"AA"}}',
        '{"alg":"none","alg":"HS256","kid":"KID","typ":"JWT"}',
        '{"alg":"HS256","kid":"KID","kid":"KID","typ":"JWT"}',
        '{"alg":["HS256"],"kid":"KID","typ":"JWT"}',
        '["HS256"]',
        '"HS256"',
        "null",
        "[" * 2000,
        '{"a":' * 500,
        "\ufeff{}",
    ],
)
def test_token_header_that_differs_from_ours_is_invalid(tokens: JoseTokens, header: str) -> None:
    kid = json.loads(decode(header_of(tokens)))["kid"]
    payload = encode(json.dumps(good_claims()).encode())
    assert_invalid(tokens, signed(encode(header.replace("KID", kid).encode()), payload))


def test_loose_base64_is_invalid(tokens: JoseTokens, token: str) -> None:
    header, payload, signature = token.split(".")
    assert len(signature) % 4 == 3  # two bits of the last character are not used
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_bytes = [c for c in alphabet if decode(signature[:-1] + c) == decode(signature)]
    assert len(same_bytes) == 4
    for last in same_bytes:
        if last != signature[-1]:
            assert_invalid(tokens, f"{header}.{payload}.{signature[:-1]}{last}")
    assert_invalid(tokens, f"{header}.{payload}.{signature}=")
    assert_invalid(tokens, signed(header, payload + "="))
    assert_invalid(tokens, signed(header, payload[:4] + "\n" + payload[4:]))


@pytest.mark.parametrize("length", [1, 5, 9])
def test_base64_of_an_impossible_length_is_invalid(tokens: JoseTokens, length: int) -> None:
    assert_invalid(tokens, signed(header_of(tokens), "A" * length))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti", "iat", "nbf", "exp", "ver"])
def test_no_claim_may_be_missing(tokens: JoseTokens, name: str) -> None:
    claims = good_claims()
    del claims[name]
    assert_invalid(tokens, with_payload(tokens, json.dumps(claims)))


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("kind", ["text", "float", "true", "null", "list", "object", "exponent"])
def test_times_are_integers(tokens: JoseTokens, name: str, kind: str) -> None:
    value = good_claims()[name]
    kinds = {
        "text": f'"{value}"',
        "float": f"{value}.0",
        "true": "true",
        "null": "null",
        "list": f"[{value}]",
        "object": "{}",
        "exponent": f"{value}e0",
    }
    payload = json.dumps(good_claims()).replace(f'"{name}": {value}', f'"{name}": {kinds[kind]}')
    assert_invalid(tokens, with_payload(tokens, payload))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti", "ver"])
@pytest.mark.parametrize(
    "value", [None, 1, True, "", [], ["chatbot"], {}, "\x00", "\ud800", "x" * 256]
)
def test_names_are_plain_text(tokens: JoseTokens, name: str, value: object) -> None:
    assert_invalid(tokens, with_claims(tokens, **{name: value}))


@pytest.mark.parametrize("name", ["iss", "aud"])
def test_a_token_of_another_issuer_or_audience_is_invalid(tokens: JoseTokens, name: str) -> None:
    assert_invalid(tokens, with_claims(tokens, **{name: "Chatbot"}))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 2000, "-0.0"])
@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
def test_out_of_range_numbers_are_invalid(tokens: JoseTokens, name: str, number: str) -> None:
    value = good_claims()[name]
    payload = json.dumps(good_claims()).replace(f'"{name}": {value}', f'"{name}": {number}')
    assert_invalid(tokens, with_payload(tokens, payload))


@pytest.mark.parametrize("name", ["exp", "sub", "ver"])
def test_a_claim_that_occurs_twice_is_invalid(tokens: JoseTokens, name: str) -> None:
    claims = good_claims()
    twice = f'{{"{name}": {json.dumps(claims[name])}, {json.dumps(claims)[1:]}'
    assert json.loads(twice) == claims
    assert_invalid(tokens, with_payload(tokens, twice))


def test_a_name_that_occurs_twice_deep_inside_is_invalid(tokens: JoseTokens) -> None:
    inside = json.dumps(good_claims())[:-1] + ', "x": [{"a": 1, "a": 1}]}'
    assert_invalid(tokens, with_payload(tokens, inside))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 2900,
        b'{"a":' * 500,
        b'{"exp":' + b"[" * 2000 + b"]" * 800,
    ],
)
def test_a_payload_that_is_not_an_object_is_invalid(tokens: JoseTokens, payload: bytes) -> None:
    assert_invalid(tokens, with_payload(tokens, payload))


def test_a_token_expires_at_its_second(
    tokens: JoseTokens, token: str, clock: SettableClock
) -> None:
    clock.now = NOW + timedelta(seconds=TTL_S) - timedelta(microseconds=1)
    assert tokens.read(token) == CLAIMS
    clock.now = NOW + timedelta(seconds=TTL_S)
    assert_invalid(tokens, token)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_from_the_future_is_invalid_beyond_the_leeway(
    tokens: JoseTokens, name: str
) -> None:
    assert tokens.read(with_claims(tokens, **{name: T + LEEWAY_S})) == CLAIMS
    assert_invalid(tokens, with_claims(tokens, **{name: T + LEEWAY_S + 1}))


@pytest.mark.parametrize(
    ("issued", "expires"),
    [(T, T + TTL_S + 1), (T - 1, T + TTL_S), (T, T + 10**12), (-(10**12), T + 1), (T + 5, T + 5)],
)
def test_a_token_that_lives_longer_than_tokens_do_is_invalid(
    tokens: JoseTokens, issued: int, expires: int
) -> None:
    assert_invalid(tokens, with_claims(tokens, iat=issued, exp=expires))


def test_a_shorter_life_in_the_settings_holds_for_tokens_already_issued(
    token: str, clock: SettableClock
) -> None:
    stricter = JoseTokens(SECRET, ttl_s=TTL_S - 1, clock=clock)
    assert_invalid(stricter, token)


def test_a_token_over_4_kib_is_invalid_even_if_signed(tokens: JoseTokens) -> None:
    room = MAX_TOKEN_CHARS * 3 // 4 - 400
    assert tokens.read(with_claims(tokens, x="x" * room)) == CLAIMS
    assert_invalid(tokens, with_claims(tokens, x="x" * (room + 400)))


def test_token_hints_that_do_not_fit_are_omitted(tokens: JoseTokens) -> None:
    token = issue(tokens, replace(USER, roles=("r" * 5000,), department="\ud800" * 5000))
    assert tokens.read(token) == CLAIMS
    assert "roles" not in json.loads(decode(token.split(".")[1]))


@pytest.mark.parametrize("secret", ["", "x" * 31, "ssh-rsa " + "A" * 40])
def test_a_secret_that_cannot_protect_anything_is_refused(
    clock: SettableClock, secret: str
) -> None:
    with pytest.raises(ValueError, match="the secret") as refused:
        JoseTokens(secret, ttl_s=TTL_S, clock=clock)
    assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize(
    "secret", ['{"keys": []}' + " " * 40, '["", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]']
)
def test_a_secret_that_looks_like_json_is_used_as_it_is(clock: SettableClock, secret: str) -> None:
    tokens = JoseTokens(secret, ttl_s=TTL_S, clock=clock)
    assert tokens.read(issue(tokens)) == CLAIMS
    header, payload, _ = issue(tokens).split(".")
    assert signed(header, payload, secret=secret) == issue(tokens)
    assert_invalid(tokens, signed(header, payload, secret=""))


def test_key_id_identifies_the_secret_without_containing_it(clock: SettableClock) -> None:
    kids = set()
    for secret in (SECRET, SECRET + "x"):
        tokens = JoseTokens(secret, ttl_s=TTL_S, clock=clock)
        kids.add(jwt.get_unverified_header(issue(tokens))["kid"])
        assert secret not in repr(tokens)
    assert len(kids) == 2
    assert hashlib.sha256(SECRET.encode()).hexdigest()[:8] not in kids
