"""What is never remembered: secrets, national ids, bank details, and instructions about others.

The patterns are in `memory_guards.toml`, and are applied only to the text of an item.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from chatbot.domain.errors import InvalidInput
from chatbot.domain.lookalikes import latin, unmasked
from chatbot.domain.person_memory import ItemKind
from chatbot.domain.text import fold

SECRETS_ARE_NOT_STORED = "Passwords, keys, card, account and id numbers are not stored."
RIGHTS_ARE_NOT_STORED = (
    "Memory gives no rights: keys and texts that state permissions, or that set rules for the "
    "assistant, are not stored."
)
_CARD = re.compile(r"(?<!\d)(?:\d[ ._/*|-]?){12,18}\d(?!\d)")
_SEPARATORS = re.compile(r"[_.\-]+")


def is_refused(kind: ItemKind, key: str | None, text: str) -> bool:
    """Whether an item must not be stored. Tasks may be about sending something confidential."""
    is_disclosure = kind is not ItemKind.TODO and _matches("disclosures", _line(text))
    return is_secret(text, key) or is_order(text, key) or is_disclosure


def require_storable(text: str, key: str | None = None, *, where: tuple[str, ...]) -> None:
    """Return if a person may store this by hand.

    Raises:
        InvalidInput: it is a secret, or states rights.
    """
    if is_secret(text, key):
        raise InvalidInput(SECRETS_ARE_NOT_STORED, where=where)
    if is_authority(text, key):
        raise InvalidInput(RIGHTS_ARE_NOT_STORED, where=where)


def is_secret(text: str, key: str | None = None) -> bool:
    """Whether the text contains a key, password, card, bank or national id number."""
    if key is not None and _pattern("secret_keys").search(_plain_key(key)):
        return True
    return _matches("secrets", _visible(text)) or has_card_number(text)


def without_secret(quote: str) -> str:
    """Return the words of a message, or none if they contain a secret."""
    return "" if is_secret(quote) else quote


def is_order(text: str, key: str | None = None) -> bool:
    """Whether the text instructs the assistant about other people, rights or secrets."""
    return is_authority(text, key) or _matches("orders", _line(text))


def is_authority(text: str, key: str | None = None) -> bool:
    """Whether it states rights, or sets rules for the assistant, however it is spelled."""
    line = _line(text)
    if key is not None and _pattern("order_keys").search(_plain_key(key)):
        return True
    is_role = key is not None and _plain_key(key) in {"role", "rol"}
    is_rank = is_role and _pattern("order_roles").fullmatch(line.rstrip(" .!")) is not None
    return is_rank or _matches("authority", line)


def has_card_number(text: str) -> bool:
    """Whether the text contains 13 to 19 digits with the check digit of payment cards (Luhn)."""
    return any(_has_check_digit(re.sub(r"\D", "", each)) for each in _CARD.findall(_visible(text)))


def _has_check_digit(digits: str) -> bool:
    doubled = [2 * int(each) for each in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)
    return total % 10 == 0


def _matches(name: str, folded: str) -> bool:
    return any(each.search(folded) for each in _patterns(name))


def _line(text: str) -> str:
    return " ".join(fold(unmasked(text)).split())


def _visible(text: str) -> str:
    """Fold the text, normalizing blanks and removing invisible characters."""
    return "".join(
        " " if char.isspace() and char != "\n" else char for char in fold(unmasked(text))
    )


def _plain_key(key: str) -> str:
    return _SEPARATORS.sub(" ", fold(latin(key)))


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("memory_guards.toml").read_text("utf-8"))


@cache
def _patterns(name: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each) for each in _tables()[name])


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_tables()[name])
