"""Titles and reasons: what is accepted, what is removed, how titles are compared."""

import pytest

from chatbot.domain.errors import InvalidInput
from chatbot.domain.session_fields import clean_reason, clean_title, is_in_title


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("Calls", "Calls"),
        ("  Calls to make \u00a0", "Calls to make"),
        ("x" * 200, "x" * 200),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u2067\u05d0\u05d1\u2069", "\u05d0\u05d1"),
        ("a\u200eb\u061cc", "abc"),
    ],
)
def test_title_is_stored_without_surrounding_blanks_and_bidi_controls(
    raw: str, stored: str
) -> None:
    assert clean_title(raw) == stored


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "  ",
        "\u200b\u2060",
        "\u202e",
        "x" * 201,
        "a\nb",
        "a\x00b",
        "a\x9bb",
        "a\u2028b",
        "\ud800",
    ],
)
def test_title_without_visible_text_too_long_or_with_controls_is_refused(raw: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        clean_title(raw)
    assert refused.value.where == ("title",)


@pytest.mark.parametrize("raw", ["too short", "x" * 501, "a reason\nin two lines", " " * 20])
def test_reason_has_10_to_500_characters_on_one_line(raw: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        clean_reason(raw)
    assert refused.value.where == ("reason",)
    assert clean_reason("x" * 10) == "x" * 10
    assert clean_reason("x" * 500) == "x" * 500


def test_title_is_compared_without_case_and_unicode_form() -> None:
    assert is_in_title("STRASSE", "Lange Straße")
    assert is_in_title("caf\u00e9", "CAFE\u0301")
    assert not is_in_title("cafe", "caff")
