"""Reads the vectors in a response of `POST embeddings`.

Providers differ: some leave out `index`, or send 0 for every text; some encode the numbers as base64
without being asked to; and some send whole numbers as integers.
"""

import sys
from array import array
from base64 import b64decode
from collections.abc import Mapping, Sequence, Sized
from typing import Any

from chatbot.adapters.llm.refusals import RequestRefused, in_band_refusal
from chatbot.domain.search import Vector, has_direction

_FLOAT32_BYTES = 4
_MOST_NUMBERS = 16_384
"""Of a vector: four times those of the largest common models. A search would stop all others."""


def vectors_in(document: Any, count: int) -> Sequence[Vector]:  # noqa: ANN401 - JSON
    """Return the vectors in the order of the texts.

    Raises:
        RequestRefused: the response is an error.
        ValueError: it has not one usable vector for each text, all of one length.
    """
    if isinstance(document, dict) and (document.get("error") or document.get("object") == "error"):
        raise RequestRefused(in_band_refusal(document))
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise ValueError("The response has no list of embeddings.")
    if len(data) != count:
        raise ValueError("The response has not one embedding for each text.")
    found = [_vector(each.get("embedding")) for each in _in_order(data)]
    if len(set(map(len, found))) > 1:
        raise ValueError("The embeddings differ in length.")
    return found


def tokens_in(document: Any) -> int | None:  # noqa: ANN401 - JSON
    """Return how many tokens the texts had; None if the provider does not say."""
    usage = document.get("usage") if isinstance(document, dict) else None
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else None


def _in_order(data: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Sort by `index`; where it says nothing, the order is that of the texts."""
    numbers = [each.get("index") for each in data]
    if len(data) == 1 or set(numbers) <= {None} or set(numbers) == {0}:
        return data
    placed = dict(zip(numbers, data, strict=True))
    if placed.keys() != set(range(len(data))):
        raise ValueError("The embeddings do not say which texts they are of.")
    return [placed[number] for number in range(len(data))]


def _vector(found: Any) -> Vector:  # noqa: ANN401 - JSON
    numbers = _decoded(found) if isinstance(found, str) else found
    if isinstance(numbers, Sized) and len(numbers) > _MOST_NUMBERS:
        raise ValueError("An embedding is too long.")
    try:
        vector: Vector = array("d", numbers)  # it checks what it is given
    except (TypeError, OverflowError) as error:
        raise ValueError("An embedding is not a list of numbers.") from error
    if not has_direction(vector):
        raise ValueError("An embedding has no direction.")
    return vector


def _decoded(text: str) -> "array[float]":
    data = b64decode(text, validate=True)
    if len(data) % _FLOAT32_BYTES:
        raise ValueError("An embedding is cut off.")
    numbers = array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
