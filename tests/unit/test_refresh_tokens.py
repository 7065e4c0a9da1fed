"""Refresh tokens: only our own are read, unchanged."""

import base64
import hmac

import pytest

from chatbot.adapters.security.refresh_tokens import MAX_CHARS, HmacRefreshTokens
from chatbot.domain.errors import InvalidToken
from chatbot.domain.identity import FamilyId

SECRET, OTHER = "0123456789abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba9876543210"
FAMILY = FamilyId("0f" * 16)
TOKENS = HmacRefreshTokens(SECRET)


def assert_invalid(raw_token: str, tokens: HmacRefreshTokens = TOKENS) -> None:
    with pytest.raises(InvalidToken):
        tokens.read(raw_token)


@pytest.mark.parametrize("number", [1, 2, 10, 999_999_999])
def test_token_says_its_family_and_number(number: int) -> None:
    token = TOKENS.issue(FAMILY, number)
    assert len(token) <= MAX_CHARS
    assert TOKENS.read(token) == (FAMILY, number)
    assert TOKENS.issue(FAMILY, number) == token, "an answer that was lost can be given again"


def test_every_change_of_one_character_makes_a_token_invalid() -> None:
    token = TOKENS.issue(FAMILY, 12)
    for at, old in enumerate(token):
        for new in map(chr, range(256)):
            if new != old:
                assert_invalid(f"{token[:at]}{new}{token[at + 1 :]}")


def test_token_of_another_number_or_family_cannot_be_composed() -> None:
    first, second = TOKENS.issue(FAMILY, 1), TOKENS.issue(FamilyId("1f" * 16), 2)
    mac = first.rpartition(".")[2]
    assert_invalid(f"{FAMILY}.2.{mac}")
    assert_invalid(f"{FAMILY}.1.{second.rpartition('.')[2]}")


@pytest.mark.parametrize(
    "odd",
    [
        "",
        ".",
        "..",
        "x" * 1_000_000,
        f"{FAMILY}.0.",
        f"{FAMILY}.-1.",
        f"{FAMILY}.01.",
        f"{FAMILY}.1.2.",
        f"{FAMILY}.\u0661.",
        f"{FAMILY.upper()}.1.",
        f" {FAMILY}.1.",
        f"{FAMILY}.1234567890.",
        f"{FAMILY[:-1]}\ud800.1.",
    ],
)
def test_other_shapes_are_invalid_whatever_mac_they_have(odd: str) -> None:
    assert_invalid(odd)
    assert_invalid(odd + TOKENS.issue(FAMILY, 1).rpartition(".")[2])


def test_line_break_and_padding_after_a_token_are_invalid() -> None:
    for end in ("\n", "=", " "):
        assert_invalid(TOKENS.issue(FAMILY, 1) + end)


def test_previous_secret_verifies_and_does_not_sign() -> None:
    rotated = HmacRefreshTokens(OTHER, previous=[SECRET])
    assert rotated.read(TOKENS.issue(FAMILY, 3)) == (FAMILY, 3)
    assert rotated.issue(FAMILY, 3) == HmacRefreshTokens(OTHER).issue(FAMILY, 3)
    assert_invalid(TOKENS.issue(FAMILY, 3), HmacRefreshTokens(OTHER))
    assert_invalid(rotated.issue(FAMILY, 3))


def test_secret_of_access_tokens_is_not_itself_the_key() -> None:
    signed = f"{FAMILY}.1"
    mac = hmac.digest(SECRET.encode(), signed.encode(), "sha256")
    assert_invalid(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_id_of_the_access_token_is_not_a_part_of_the_refresh_token() -> None:
    ids = {TOKENS.access_token_id(FAMILY, number) for number in (1, 2)}
    assert len(ids) == 2
    assert not any(each in TOKENS.issue(FAMILY, number) for each in ids for number in (1, 2))
