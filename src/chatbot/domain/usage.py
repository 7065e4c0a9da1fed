"""The names of the counters of limits and of usage."""

from chatbot.domain.identity import Owner
from chatbot.domain.ports.counters import PART_SEPARATOR, CounterKey

RATE = "rate"
"""The kind of the counters of requests."""

_ESCAPED = str.maketrans({"%": "%25", PART_SEPARATOR: "%7C"})


def part_of(text: str) -> str:
    """Return the text as a part of a counter's name."""
    return text.translate(_ESCAPED)


def rate_key(owner: Owner, window: str) -> CounterKey:
    """The counter of the requests of an owner in a window."""
    return CounterKey(RATE, PART_SEPARATOR.join((owner.kind, part_of(owner.id), window)))
