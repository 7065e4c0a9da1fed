"""Whether an amount lies in a range that a text names, such as `10,000 to 75,000 euros`."""

import re
from collections.abc import Iterator

_NUMBER = r"\d{1,3}(?:[.,]\d{3})+(?!\d)|\d+(?:[.,]\d{1,2})?(?!\d)"
_UNIT = r"[\s€$£]*(?:euros?|eur|€|£|\$)?\s*"
_BETWEEN = re.compile(rf"({_NUMBER}){_UNIT}(?:to|and|a|y|-|\u2013|hasta)[\s€$£]*({_NUMBER})")
_UP_TO = re.compile(
    rf"(?:up to|until|under|below|less than|hasta|menos de|por debajo de)[\s€$£]*({_NUMBER})"
)
_ABOVE = re.compile(
    rf"(?:above|over|more than|from|por encima de|mas de|a partir de|desde)[\s€$£]*({_NUMBER})"
)
_LEAST = 100
_YEARS = range(1900, 2101)


def amounts_in(text: str) -> Iterator[float]:
    """Yield the amounts of a folded text, without small numbers and years."""
    for found in re.finditer(_NUMBER, text):
        value = _value(found[0])
        if value >= _LEAST and not (value in _YEARS and found[0].isdigit()):
            yield value


def is_in_range(amount: float, text: str) -> bool:
    """Whether the folded text names a range with this amount."""
    between = [(_value(found[1]), _value(found[2])) for found in _BETWEEN.finditer(text)]
    if between:
        return any(low < amount <= high for low, high in between)
    up_to = [_value(found[1]) for found in _UP_TO.finditer(text)]
    above = [_value(found[1]) for found in _ABOVE.finditer(text)]
    if up_to and not above:
        return any(amount <= each for each in up_to)
    return any(amount > each for each in above) and not up_to


def _value(written: str) -> float:
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", written):
        return float(re.sub(r"[.,]", "", written))
    return float(written.replace(",", "."))
