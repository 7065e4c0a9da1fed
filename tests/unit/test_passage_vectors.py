"""Passages become vectors in batches; texts that the model refuses cost only themselves."""

from collections.abc import Callable, Sequence

import pytest

from chatbot.application.passage_vectors import PassageVectors
from chatbot.domain.errors import (
    ContextTooLong,
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    PromptRefused,
)
from chatbot.domain.search import Passage, Vector, rounded
from embedding_calls import FakeEmbedder
from meaning import vector_of

UNUSABLE = ModelError("The embedding model returned no usable answer.")
REFUSALS = [
    ContextTooLong(status=400),
    PromptRefused(status=400),
    ModelError(status=400),
    ModelError(status=422),
    ModelError(status=403),
    ModelUnavailable(status=500),
    UNUSABLE,
]


def refusing(
    embedder: FakeEmbedder, error: ModelFailure, is_bad: Callable[[Sequence[str]], bool]
) -> None:
    def answer(texts: Sequence[str]) -> Sequence[Vector] | None:
        if is_bad(texts):
            raise error
        return None

    embedder.answer = answer


def texts(count: int) -> list[str]:
    return [f"text {n}" for n in range(count)]


async def test_passages_are_embedded_with_the_headings_above_them() -> None:
    embedder = FakeEmbedder()
    passages = [
        Passage(seq=3, text="Holidays are paid.", heading="Rules > Leave"),
        Passage(seq=5, text="Dogs are welcome."),
    ]
    embedded = await PassageVectors(embedder).of(passages)
    assert embedded.model == embedder.model
    said = ["Rules > Leave\nHolidays are paid.", "Dogs are welcome."]
    assert embedder.texts == said
    assert embedded.vectors == {3: rounded(vector_of(said[0])), 5: rounded(vector_of(said[1]))}


async def test_a_call_has_a_bounded_number_of_texts_and_characters() -> None:
    embedder = FakeEmbedder()
    await PassageVectors(embedder).of_texts(texts(150))
    assert [len(call) for call in embedder.calls] == [64, 64, 22]
    await PassageVectors(embedder, at_once=32).of_texts(texts(40))
    assert [len(call) for call in embedder.calls[3:]] == [32, 8]
    await PassageVectors(embedder).of_texts(["x" * 40_000] * 5 + ["y" * 900_000])
    assert [len(call) for call in embedder.calls[5:]] == [2, 2, 1, 1]


async def test_without_passages_nothing_is_called() -> None:
    embedder = FakeEmbedder()
    assert (await PassageVectors(embedder).of([])).vectors == {}
    assert not embedder.calls


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
@pytest.mark.parametrize("bad", [{0}, {63}, {17, 18, 40}, set(range(0, 64, 8))], ids=str)
async def test_texts_that_the_model_refuses_are_left_out(
    error: ModelFailure, bad: set[int]
) -> None:
    embedder = FakeEmbedder()
    refused = {f"text {n}" for n in bad}
    refusing(embedder, error, lambda given: not refused.isdisjoint(given))
    found = await PassageVectors(embedder).of_texts(texts(64))
    assert [n for n, each in enumerate(found) if each is None] == sorted(bad)
    assert [each for n, each in enumerate(found) if n not in bad] == [
        rounded(vector_of(text)) for n, text in enumerate(texts(64)) if n not in bad
    ]


async def test_a_model_that_takes_fewer_texts_gets_no_more_from_then_on() -> None:
    embedder = FakeEmbedder()
    refusing(embedder, ModelError(status=422), lambda given: len(given) > 16)
    vectors = PassageVectors(embedder)
    assert None not in await vectors.of_texts(texts(64))
    embedder.calls.clear()
    await vectors.of_texts(texts(64))
    assert [len(call) for call in embedder.calls] == [16, 16, 16, 16]


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
async def test_a_model_that_refuses_everything_is_given_up_soon(error: ModelFailure) -> None:
    embedder = FakeEmbedder()
    refusing(embedder, error, lambda _: True)
    vectors = PassageVectors(embedder)
    for _ in range(2):
        embedder.calls.clear()
        with pytest.raises(type(error)):
            await vectors.of_texts(texts(64))
        assert len(embedder.calls) == 17


@pytest.mark.parametrize(
    "error",
    [ModelError(status=401), ModelError(status=404), ModelUnavailable(status=503)],
    ids=repr,
)
async def test_failures_that_no_text_can_cause_end_it_at_once(error: ModelFailure) -> None:
    embedder = FakeEmbedder()
    refusing(embedder, error, lambda _: True)
    with pytest.raises(type(error)):
        await PassageVectors(embedder).of_texts(texts(64))
    assert len(embedder.calls) == 1


async def test_a_slow_model_gets_fewer_texts_at_once_and_not_ever_fewer() -> None:
    embedder = FakeEmbedder()
    refusing(embedder, ModelTimeout(), lambda given: len(given) > 32)
    assert None not in await PassageVectors(embedder).of_texts(texts(64))
    embedder.calls.clear()
    refusing(embedder, ModelTimeout(), lambda _: True)
    with pytest.raises(ModelTimeout):
        await PassageVectors(embedder).of_texts(texts(64))
    assert [len(call) for call in embedder.calls] == [64, 32, 16, 8]


async def test_a_busy_provider_is_waited_for_within_a_limit() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    embedder = FakeEmbedder()
    busy = ModelUnavailable(status=429, retry_after_s=7)
    refusing(embedder, busy, lambda _: len(waits) < 2)
    patient = PassageVectors(embedder, patience_s=20, sleep=sleep)
    assert await patient.of_texts(["x"]) == [rounded(vector_of("x"))]
    assert waits == [7, 7]
    waits.clear()
    refusing(embedder, ModelUnavailable(status=503), lambda _: True)
    with pytest.raises(ModelUnavailable):
        await patient.of_texts(["x"])
    assert waits == [1, 2, 4, 8]
    refusing(embedder, ModelUnavailable(), lambda _: True)
    with pytest.raises(ModelUnavailable):
        await patient.of_texts(["x"])
    with pytest.raises(ModelUnavailable):
        await PassageVectors(embedder, sleep=sleep).of_texts(["x"])
    assert len(waits) == 4


async def test_vectors_of_another_length_than_before_are_not_mixed() -> None:
    embedder = FakeEmbedder()

    def answer(given: Sequence[str]) -> Sequence[Vector] | None:
        return [vector_of(text, 32 * len(embedder.calls)) for text in given]

    embedder.answer = answer
    with pytest.raises(ModelError, match="changed the length"):
        await PassageVectors(embedder).of_texts(texts(65))


async def test_the_dimension_is_that_of_a_vector() -> None:
    assert await PassageVectors(FakeEmbedder(dimension=96)).dimension() == 96
