"""Assertion secrets: derived and not stored, or sealed so that only the key itself opens them."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.domain.assertions import (
    ASSERTION_KINDS,
    END_USER,
    MAX_SECRET_CHARS,
    check_secret,
    derived_secret,
    sealed,
    unsealed,
)
from chatbot.domain.credentials import make_key
from chatbot.domain.errors import InvalidInput

PEPPER, OTHER_PEPPER = b"n" * 32, b"o" * 32
_, RAW_KEY = make_key(os.urandom)
_, OTHER_KEY = make_key(os.urandom)
SECRET = "Zq7vX2nB9kL4mT6wR1yH8cJ3dF5gP0sAeUiO"


def test_derived_secret_depends_on_the_key_and_on_the_pepper() -> None:
    secret = derived_secret(RAW_KEY, PEPPER)
    assert secret == derived_secret(RAW_KEY, PEPPER)
    assert (
        len({secret, derived_secret(RAW_KEY, OTHER_PEPPER), derived_secret(OTHER_KEY, PEPPER)}) == 3
    )
    check_secret(secret)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=512))
def test_sealed_secret_is_opened_by_its_key_and_pepper_only(secret: str) -> None:
    text = sealed(secret, RAW_KEY, PEPPER)
    assert unsealed(text, RAW_KEY, PEPPER) == secret
    assert unsealed(text, OTHER_KEY, PEPPER) is None
    assert unsealed(text, RAW_KEY, OTHER_PEPPER) is None
    assert len(secret) < 4 or secret not in text


@given(st.data())
def test_changed_text_is_not_opened(data: st.DataObject) -> None:
    text = sealed(SECRET, RAW_KEY, PEPPER)
    place = data.draw(st.integers(0, len(text) - 3))
    char = data.draw(st.sampled_from([char for char in "AZaz09-_" if char != text[place]]))
    assert unsealed(text[:place] + char + text[place + 1 :], RAW_KEY, PEPPER) is None


@pytest.mark.parametrize("text", ["", "=", "x", "AAAA", "ñ", "\ud800", "A" * 44])
def test_text_that_was_edited_is_not_opened(text: str) -> None:
    assert unsealed(text, RAW_KEY, PEPPER) is None


def test_two_keys_hide_the_same_secret_differently() -> None:
    assert sealed(SECRET, RAW_KEY, PEPPER) != sealed(SECRET, OTHER_KEY, PEPPER)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        SECRET[:31],
        "x" * 40,
        "changeme-changeme-changeme-changeme",
        SECRET + " ",
        SECRET + "ñ",
        SECRET + "\n",
        (SECRET * 20)[: MAX_SECRET_CHARS + 1],
        f"-----BEGIN PUBLIC KEY-----{SECRET}",
        f"ssh-rsa{SECRET}",
    ],
)
def test_secret_that_is_weak_or_not_plain_text_is_refused(secret: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_secret(secret)
    assert refused.value.where == ("user_secret",)
    assert secret == "" or secret not in str(refused.value)


def test_each_kind_of_assertion_has_a_header_of_its_own() -> None:
    headers = [kind.header.lower() for kind in ASSERTION_KINDS]
    assert len(set(headers)) == len(headers)
    assert (END_USER.header, END_USER.audience, END_USER.max_lifetime_s) == (
        "X-End-User",
        "chatbot",
        300,
    )
    assert END_USER.is_single_use
