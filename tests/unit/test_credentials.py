"""The text of API keys, what is stored of them, and when they end."""

import os
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.domain.credentials import (
    ApiKey,
    KeyState,
    digest_of_key,
    is_key_id,
    key_id_of,
    make_key,
    matching_pepper,
)
from chatbot.domain.identity import ClientId, KeyId
from chatbot.domain.permissions import KEY_ONLY, Permission

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PEPPER, OLD_PEPPER = b"n" * 32, b"o" * 32
KEY_ID, RAW_KEY = make_key(os.urandom)
BASE_62 = string.digits + string.ascii_letters


def stored(*, pepper: bytes = PEPPER, **given: object) -> ApiKey:
    known: dict[str, object] = {
        "id": KEY_ID,
        "client": ClientId("partner"),
        "scopes": frozenset({Permission.CHAT}),
        "digest": digest_of_key(RAW_KEY, pepper),
        "created_at": NOW,
        "created_by": "cli:root",
    }
    return ApiKey(**{**known, **given})  # type: ignore[arg-type] # by name


def test_key_has_an_id_of_8_characters_and_a_secret_of_256_bits_with_a_checksum() -> None:
    word, key_id, secret = RAW_KEY.split("_")
    assert (word, key_id, len(secret)) == ("cb", KEY_ID, 43 + 6)
    assert is_key_id(KEY_ID)
    assert 62**43 > 2**256
    assert key_id_of(RAW_KEY) == KEY_ID


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_every_random_value_makes_a_key_that_is_recognised(byte: bytes) -> None:
    key_id, raw_key = make_key(lambda size: byte * size)
    assert key_id_of(raw_key) == key_id


@given(place=st.integers(0, len(RAW_KEY) - 1), char=st.sampled_from([*BASE_62, "_", "-", "é"]))
def test_each_wrong_character_is_noticed_without_a_look_up(place: int, char: str) -> None:
    typed = RAW_KEY[:place] + char + RAW_KEY[place + 1 :]
    assert (key_id_of(typed) == KEY_ID) == (typed == RAW_KEY)
    assert key_id_of(typed) in {None, KEY_ID}


@given(place=st.integers(0, len(RAW_KEY) - 2))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    left, right = RAW_KEY[place], RAW_KEY[place + 1]
    typed = RAW_KEY[:place] + right + left + RAW_KEY[place + 2 :]
    assert key_id_of(typed) == (KEY_ID if left == right else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cb_",
        RAW_KEY[:-1],
        RAW_KEY + "0",
        f" {RAW_KEY}",
        f"{RAW_KEY}\n",
        RAW_KEY.upper(),
        "\ud800",
    ],
)
def test_text_of_another_shape_is_not_a_key(text: str) -> None:
    assert key_id_of(text) is None


@given(st.binary(min_size=64, max_size=64))
def test_keys_made_of_any_bytes_keep_their_shape(raw: bytes) -> None:
    key_id, raw_key = make_key(lambda size: raw[:size])
    assert is_key_id(key_id)
    assert len(raw_key) == len(RAW_KEY)


def test_digest_depends_on_the_key_and_on_the_pepper() -> None:
    digests = {digest_of_key(RAW_KEY, PEPPER), digest_of_key(RAW_KEY, OLD_PEPPER)}
    digests.add(digest_of_key(RAW_KEY[::-1], PEPPER))
    assert len(digests) == 3


def test_key_matches_under_the_newest_or_an_older_pepper() -> None:
    peppers = [PEPPER, OLD_PEPPER]
    assert matching_pepper(RAW_KEY, stored(), peppers) == PEPPER
    assert matching_pepper(RAW_KEY, stored(pepper=OLD_PEPPER), peppers) == OLD_PEPPER
    assert matching_pepper(RAW_KEY, stored(pepper=b"x" * 32), peppers) is None
    assert matching_pepper(RAW_KEY, None, peppers) is None


@pytest.mark.parametrize("digest", ["", "0" * 64, "x" * 64, "ñ", "\ud800"])
def test_key_matches_no_digest_that_was_edited(digest: str) -> None:
    assert matching_pepper(RAW_KEY, stored(digest=digest), [PEPPER]) is None


def test_unknown_key_does_not_match_the_digest_that_stands_for_none() -> None:
    """Even if a digest of zeros could be found."""
    zeros = stored(digest="0" * 64)
    assert matching_pepper(RAW_KEY, zeros, [PEPPER]) is None


@pytest.mark.parametrize(
    ("ends_in", "state"),
    [
        (None, KeyState.ACTIVE),
        (timedelta(days=7, seconds=1), KeyState.ACTIVE),
        (timedelta(days=7), KeyState.EXPIRING),
        (timedelta(microseconds=1), KeyState.EXPIRING),
        (timedelta(0), KeyState.EXPIRED),
        (timedelta(days=-1), KeyState.EXPIRED),
    ],
)
def test_state_follows_from_the_time(ends_in: timedelta | None, state: KeyState) -> None:
    key = stored(expires_at=None if ends_in is None else NOW + ends_in)
    assert key.state(NOW) is state
    assert key.is_live(NOW) == (state in {KeyState.ACTIVE, KeyState.EXPIRING})


def test_revoked_key_is_revoked_whatever_its_end() -> None:
    for ends_at in (None, NOW + timedelta(days=1), NOW - timedelta(days=1)):
        key = stored(expires_at=ends_at, revoked_at=NOW)
        assert key.state(NOW) is KeyState.REVOKED
        assert not key.is_live(NOW)


def test_person_can_do_through_a_key_at_most_what_its_scopes_allow_a_role() -> None:
    client = stored(scopes=frozenset({Permission.CHAT}) | KEY_ONLY).as_client()
    assert client.permissions == {Permission.CHAT} | KEY_ONLY
    assert client.user_permissions == {Permission.CHAT}
    assert client.key_id == KeyId(KEY_ID)


def test_secrets_are_hidden_from_repr() -> None:
    shown = repr(stored(sealed_secret="sealed"))
    assert stored().digest not in shown
    assert "sealed" not in shown.replace("sealed_secret", "")
