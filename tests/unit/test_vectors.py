"""Vectors are stored in one byte for each number, and compared by whole numbers."""

import math
from itertools import pairwise
from random import Random

import pytest

from chatbot.adapters.search.stored_vectors import numbers
from chatbot.adapters.search.vectors import Quantised, code_bytes, plane_bytes
from chatbot.domain.search import Passage, Scope, rounded
from index_rows import DictRows, fresh_index
from vector_oracle import rounded as by_definition
from vectors_of_texts import MODEL, embedded, vector_of

SCOPE = Scope("class a")


def random_vector(random: Random, dimension: int) -> list[float]:
    return [random.gauss(0, 1) for _ in range(dimension)]


@pytest.mark.parametrize("dimension", [1, 7, 8, 9, 256, 1536])
def test_a_vector_is_read_as_it_was_written(dimension: int) -> None:
    vector = Quantised.of(random_vector(Random(dimension), dimension))
    assert len(vector.code) == code_bytes(dimension)
    assert vector.signs < 1 << 8 * plane_bytes(dimension)
    assert Quantised.decoded(dimension, vector.signs, vector.code) == vector


@pytest.mark.parametrize("dimension", [1, 9, 256, 1536])
def test_the_cosine_is_that_of_the_rounded_numbers(dimension: int) -> None:
    random = Random(dimension)
    one, two = random_vector(random, dimension), random_vector(random, dimension)
    a, b = (by_definition(each) for each in (one, two))
    product = sum(x * y for x, y in zip(a, b, strict=True))
    wanted = product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    found = Quantised.of(one).cosine(Quantised.of(two))
    assert found == round(wanted, 9)
    assert Quantised.of(one).cosine(Quantised.of([3 * x for x in one])) == 1.0
    assert Quantised.of(one).cosine(Quantised.of([-x for x in one])) == -1.0
    exact = sum(x * y for x, y in zip(one, two, strict=True)) / math.hypot(*one) / math.hypot(*two)
    assert found == pytest.approx(exact, abs=0.005)


def test_small_and_great_numbers_are_no_problem() -> None:
    tiny, huge = Quantised.of([1e-299, -1e-299]), Quantised.of([1e300, -1e300])
    assert tiny == huge
    assert bin(tiny.signs) == "0b1"


def test_a_rounded_vector_is_left_as_it_is() -> None:
    vector = random_vector(Random(1), 300)
    assert list(rounded(vector)) == by_definition(vector)
    assert max(map(abs, rounded(vector))) == 127
    assert rounded(rounded(vector)) == rounded(vector) == rounded([3.0 * x for x in vector])
    assert Quantised.of(rounded(vector)) == Quantised.of(vector)


def test_a_vector_that_is_added_goes_into_a_chunk_that_is_not_full() -> None:
    rows, passages = DictRows(), [Passage(seq=seq, text=f"text {seq}") for seq in range(1, 151)]
    index = fresh_index(rows)
    index.put(SCOPE, "a", passages)
    ids = [0]
    for passage in passages:
        index.put_vectors(SCOPE, "a", embedded([passage]))
        parts = rows.vector_parts(SCOPE, "a")
        ids.append(max(part.id for part in parts))
    assert [len(numbers(part.seqs)) for part in parts] == [64, 64, 22]
    assert all(a < b for a, b in pairwise(ids)), "a changed chunk has a new id"
    index.put_vectors(SCOPE, "a", embedded(passages, model="openai/large", dimension=3072))
    large = [part for part in rows.vector_parts(SCOPE, "a") if part.model == "openai/large"]
    assert {len(numbers(part.seqs)) for part in large} == {10}


def test_vectors_of_different_models_are_kept_apart() -> None:
    rows = DictRows()
    index = fresh_index(rows)
    index.put(SCOPE, "a", [Passage(seq=1, text="x")])
    index.put_vectors(SCOPE, "a", embedded({1: "x"}))
    index.put_vectors(SCOPE, "a", embedded({1: "y"}, model="openai/b"))
    by_model = {part.model: part.id for part in rows.vector_parts(SCOPE)}
    (signs,) = rows.vector_signs([SCOPE], [by_model[MODEL]])
    expected = Quantised.of(vector_of("x")).signs
    assert int.from_bytes(signs.signs, "big") == expected
    assert rows.vector_heads([Scope("class b")], MODEL) == []
