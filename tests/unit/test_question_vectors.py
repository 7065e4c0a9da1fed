"""The vector of a question is made once and in time, or the search does without it."""

import asyncio
import logging

import pytest

from chatbot.adapters.search.question_vectors import QuestionVectors
from chatbot.adapters.search.vectors import Quantised
from chatbot.domain.errors import ModelError, ModelUnavailable, PromptRefused
from vectors_of_texts import WordEmbedder, vector_of


class Slow(WordEmbedder):
    """Answers once it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def embed(self, texts: list[str]) -> list[list[float]]:  # type: ignore[override]
        self.asked.append(texts)
        await self.released.wait()
        return [vector_of(text) for text in texts]


async def test_searches_at_the_same_time_for_one_question_share_its_vector() -> None:
    embedder = Slow()
    questions = QuestionVectors(embedder, timeout_s=5)
    waiting = [asyncio.create_task(questions.of("a kite")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    embedder.released.set()
    one, two = await asyncio.gather(*waiting[1:])
    assert one == two == Quantised.of(vector_of("a kite"))
    assert embedder.asked == [["a kite"]]


async def test_no_answer_is_faster_because_the_question_was_asked_before() -> None:
    embedder = WordEmbedder()
    questions = QuestionVectors(embedder, timeout_s=5)
    for _ in range(2):
        await questions.of("a kite")
    assert embedder.asked == [["a kite"], ["a kite"]]


async def test_a_model_that_does_not_answer_is_not_waited_for_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Slow()
    questions = QuestionVectors(embedder, timeout_s=0.01)
    with caplog.at_level(logging.WARNING):
        assert await questions.of("one") is None
        assert await questions.of("two") is None
    assert embedder.asked == [["one"]]
    assert len(caplog.records) == 1
    assert "openai/made-up did not embed a question: TimeoutError" in caplog.text
    monkeypatch.setattr(questions, "_paused_until", 0.0)
    embedder.released.set()
    assert await questions.of("one") is not None


@pytest.mark.parametrize(
    ("error", "calls"),
    [(ModelUnavailable("down"), 1), (ModelError("bad key"), 2), (PromptRefused("no"), 2)],
)
async def test_a_failure_is_logged_once_a_minute_and_never_raised(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    calls: int,
) -> None:
    embedder = WordEmbedder()
    embedder.error = error
    questions = QuestionVectors(embedder, timeout_s=5)
    assert await questions.of("one") is None
    assert await questions.of("one") is None
    assert len(embedder.asked) == calls
    assert len(caplog.records) == 1
    assert str(error) in caplog.text
    assert "one" not in caplog.text
    monkeypatch.setattr(questions, "_logged_at", float("-inf"))
    monkeypatch.setattr(questions, "_paused_until", 0.0)
    assert await questions.of("one") is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize("vectors", [[], [[1.0], [2.0]], [[0.0, 0.0]], [[float("nan")]]])
async def test_an_unusable_answer_is_a_failure(vectors: list[list[float]]) -> None:
    class Odd(WordEmbedder):
        async def embed(self, texts: object) -> list[list[float]]:
            return vectors

    assert await QuestionVectors(Odd(), timeout_s=5).of("one") is None


async def test_a_call_that_was_not_answered_ends_with_the_service() -> None:
    embedder = Slow()
    questions = QuestionVectors(embedder, timeout_s=5)
    waiting = asyncio.create_task(questions.of("one"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await questions.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
