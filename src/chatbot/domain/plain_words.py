"""Words that say nothing about what a question asks for, in the languages of the service."""

import tomllib
from functools import cache
from importlib.resources import files


@cache
def plain_words() -> frozenset[str]:
    """Return the words, folded."""
    raw = tomllib.loads(files(__package__).joinpath("plain_words.toml").read_text("utf-8"))
    return frozenset(raw["plain"].split())
