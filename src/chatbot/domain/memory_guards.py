"""What is never remembered: secrets, national ids, bank details, and orders that touch others.

The patterns are in `memory_guards.toml`. They look at the text of an item, whoever said it.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from chatbot.domain.text import fold

_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")
_SEPARATORS = re.compile(r"[_.\-]+")


def is_refused(text: str, key: str | None = None) -> bool:
    """Whether an item with this text, and this key, is never stored."""
    return is_secret(text, key) or is_order(text, key)


def is_secret(text: str, key: str | None = None) -> bool:
    """Whether it holds a key, password, card, bank or national id number."""
    if key is not None and _pattern("secret_keys").search(_plain_key(key)):
        return True
    folded = fold(text)
    return any(each.search(folded) for each in _patterns("secrets")) or has_card_number(text)


def is_order(text: str, key: str | None = None) -> bool:
    """Whether it orders the assistant something about other people, rights or secrets."""
    if key is not None and _pattern("order_keys").search(_plain_key(key)):
        return True
    folded = " ".join(fold(text).split())
    return any(each.search(folded) for each in _patterns("orders"))


def has_card_number(text: str) -> bool:
    """Whether the text holds 13 to 19 digits with the check digit of payment cards (Luhn)."""
    return any(_has_check_digit(re.sub(r"\D", "", each)) for each in _CARD.findall(text))


def _has_check_digit(digits: str) -> bool:
    doubled = [2 * int(each) for each in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)
    return total % 10 == 0


def _plain_key(key: str) -> str:
    return _SEPARATORS.sub(" ", fold(key))


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("memory_guards.toml").read_text("utf-8"))


@cache
def _patterns(name: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each) for each in _tables()[name])


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_tables()[name])
