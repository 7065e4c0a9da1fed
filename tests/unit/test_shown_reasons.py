"""The search in a person's memory says why each result was found."""

from typing import Any

from chatbot.application.memory_search import MemoryResult, ResultType
from chatbot.domain.search import Reason
from chatbot.entrypoints.http.schemas.memory_search import ResultsAnswer
from samples import T0


def shown(why: Reason) -> Any:
    found = MemoryResult(
        type=ResultType.MESSAGE, id=None, session_id="s", seq=1, ts=T0, text="x", why=why
    )
    return ResultsAnswer.of([found]).model_dump(mode="json")["results"][0]["why"]


def test_what_the_meaning_adds_is_shown_only_if_there_are_vectors() -> None:
    words = {"kite": (1.5, -1)}
    by_words = {"terms": {"kite": 1.5}, "neighbours": {"kite": -1}}
    assert shown(Reason(words=words)) == by_words
    assert shown(Reason(words=words, meaning=-0.5)) == by_words | {"meaning": -0.5}
    assert shown(Reason(meaning=2.25)) == {"terms": {}, "neighbours": {}, "meaning": 2.25}
