"""Versions of a document are known by their titles, which differ by a year only."""

import re

_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def years_in(text: str) -> frozenset[str]:
    """Return the years that a text names."""
    return frozenset(_YEAR.findall(text))


def are_versions(title: str, other: str) -> bool:
    """Whether two titles are the same but for their years."""
    return bool(years_in(title)) and _YEAR.sub("", title).split() == _YEAR.sub("", other).split()
