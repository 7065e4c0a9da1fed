"""One mailbox has one spelling; departments and e-mail addresses have no invisible characters."""

import pytest

from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.errors import InvalidInput
from chatbot.domain.names import clean_department, department_key

INVISIBLE = [
    "\u202e",
    "\u2066",
    "\u200b",
    "\u200f",
    "\x00",
    "\x1b",
    "\n",
    "\u2028",
    "\ufeff",
    "\xad",
]


@pytest.mark.parametrize(
    ("spellings", "stored"),
    [
        ([" Ana@Example.COM ", "ana@example.com", "\uff41na@example.com"], "ana@example.com"),
        (["jose\u0301@x.es", "jos\u00e9@x.es", "JOS\u00c9@X.ES"], "jos\u00e9@x.es"),
        (["a@m\u00fcnchen.de", "a@MU\u0308NCHEN.de", "A@xn--mnchen-3ya.de"], "a@xn--mnchen-3ya.de"),
        (["a@\u65e5\u672c\u3002jp", "a@\u65e5\u672c.jp"], "a@xn--wgv71a.jp"),
        (["\ufb01@x.es", "fi@x.es"], "fi@x.es"),
    ],
)
def test_spellings_of_one_address_are_stored_alike(spellings: list[str], stored: str) -> None:
    assert [normalise_email(each) for each in spellings] == [stored] * len(spellings)
    assert normalise_email(stored) == stored


@pytest.mark.parametrize("other", ["strasse@x.es", "stra\u00dfe@x.es", "stra\u0455se@x.es"])
def test_different_mailboxes_stay_different(other: str) -> None:
    assert normalise_email(other) == other


@pytest.mark.parametrize(
    "address",
    ["", "@", "a@", "@b", "a b@c", "a@b@c", "a@b c", "x" * 250 + "@b.es", "a@\u00fc" + "b" * 70]
    + [f"a{each}b@c.es" for each in INVISIBLE]
    + [f"a@c{each}d.es" for each in INVISIBLE],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput):
        normalise_email(address)


@pytest.mark.parametrize("invisible", INVISIBLE)
def test_department_has_no_invisible_characters(invisible: str) -> None:
    with pytest.raises(InvalidInput):
        clean_department(f"Sa{invisible}les")


def test_departments_that_differ_by_case_or_form_have_one_key() -> None:
    same = ["Caf\u00e9", "CAFE\u0301", "\uff23af\u00e9", "caf\u00e9"]
    assert len({department_key(each) for each in same}) == 1
    assert clean_department("  R&D   \u00f1 ") == "R&D \u00f1"
    assert department_key("Sales") != department_key("Sale")
