"""Only vectors that can be compared with each other are accepted."""

import math

import pytest

from chatbot.domain.search import Embedded, rounded


def test_vectors_of_one_length_are_accepted() -> None:
    embedded = Embedded(model="openai/m", vectors={1: [0.5, -1.0], 7: (0.0, 1e-3)})
    assert embedded.vectors[7] == (0.0, 1e-3)
    assert Embedded(model="openai/m", vectors={}).vectors == {}


@pytest.mark.parametrize(
    "vectors",
    [
        {1: [1.0, 2.0], 2: [1.0]},
        {1: [0.0, 0.0]},
        {1: [5e-324, 1e-310]},
        {1: []},
        {1: [math.nan, 1.0]},
        {1: [math.inf, 1.0]},
        {1: [1e308, 1e308, 1e308, 1e308]},
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(vectors: dict[int, list[float]]) -> None:
    with pytest.raises(ValueError, match=r"[Vv]ector"):
        Embedded(model="openai/m", vectors=vectors)


@pytest.mark.parametrize("vector", [[], [0.0], [math.nan], [1.0, math.inf]])
def test_a_vector_without_a_direction_is_not_rounded(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        rounded(vector)
