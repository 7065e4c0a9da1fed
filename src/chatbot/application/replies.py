"""Parses the JSON that a model was asked for, despite what models put around it.

Thinking, prose and code fences are skipped; the JSON objects count, in their order. A list counts
as its objects. An object is an update if it is empty or has a key of one, directly or one level
deep as in `{"memory": {...}}`. Later objects override earlier ones.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_

from chatbot.domain.errors import InvalidInput
from chatbot.domain.memory import Update
from chatbot.domain.memory_updates import MAX_UPDATE_ENTRIES, bounded, update_from_json

_END_OF_THINKING = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_BEGINNING = re.compile(r"[{\[]")
_PARTS = frozenset({"set", "profile", "preferences", "facts", "todos", "forget", "done"})
_READ_CHARS = 100_000
_TRIES = 50
"""Maximum number of attempts to parse JSON: prose may contain many brackets."""


def without_thinking(text: str) -> str:
    """Return the text after a reasoning model's thinking."""
    return _END_OF_THINKING.split(text)[-1].strip()


def read_update(text: str) -> Update:
    """Read a memory update.

    Raises:
        InvalidInput: the text contains no update.
    """
    found = [part for value in _values(without_thinking(text)) for part in _updates(value)]
    if not found:
        raise InvalidInput("The reply contains no memory update.")
    return bounded(reduce(or_, map(update_from_json, found[-MAX_UPDATE_ENTRIES:])))


def _values(text: str) -> Iterator[object]:
    decoder, position = json.JSONDecoder(), 0
    for _ in range(_TRIES):
        beginning = _BEGINNING.search(text, position, _READ_CHARS)
        if beginning is None:
            return
        try:
            value, position = decoder.raw_decode(text, beginning.start())
        except (ValueError, RecursionError):
            position = beginning.end()
        else:
            yield value


def _updates(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        for each in value:
            yield from _updates_in(each)
    else:
        yield from _updates_in(value)


def _updates_in(value: object) -> Iterator[Mapping[str, object]]:
    if not isinstance(value, dict):
        return
    inner = list(value.values())
    if not value or not _PARTS.isdisjoint(value):
        yield value
    elif len(inner) == 1 and isinstance(inner[0], dict) and not _PARTS.isdisjoint(inner[0]):
        yield inner[0]
