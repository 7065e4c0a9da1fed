"""Neighbours and speakers of passages that are spread, removed, or numbered with gaps."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.weighting import MESSAGES
from chatbot.domain.chat import MessageRole
from chatbot.domain.search import Passage, Scope
from index_rows import fresh_index
from search_oracle import Oracle
from search_worlds import found

CLASS = Scope("one")
TEXTS = {1: "my red kite", 2: "it flew", 3: "over the garden", 5: "to the budget", 6: "fine"}
OTHERS = [Passage(seq=n, text=f"other {n} things") for n in range(1, 9)]


def said(numbers: Sequence[int]) -> list[Passage]:
    return [Passage(seq=n, text=TEXTS[n], role=MessageRole.USER) for n in numbers]


def at_once(index: StoredIndex) -> None:
    index.append(CLASS, "session", said([1, 2, 3, 5, 6]))


def in_two_segments(index: StoredIndex) -> None:
    index.append(CLASS, "session", said([1, 2]))
    index.fold(CLASS)
    index.append(CLASS, "session", said([3, 5, 6]))


def then_without_the_first(index: StoredIndex) -> None:
    at_once(index)
    index.append(CLASS, "others", OTHERS)
    index.fold(CLASS)
    index.remove(CLASS, "session", upto=1)


@pytest.mark.parametrize("write", [at_once, in_two_segments, then_without_the_first])
@pytest.mark.parametrize("text", ["the kite and the garden", "a budget", "what flew"])
def test_neighbours_are_those_with_the_next_numbers(
    write: Callable[[StoredIndex], None], text: str
) -> None:
    index = fresh_index()
    write(index)
    gone = write is then_without_the_first
    known = {("session", p.seq): p for p in said([2, 3, 5, 6] if gone else [1, 2, 3, 5, 6])}
    known |= {("others", p.seq): p for p in OTHERS} if gone else {}
    hits = found(index, [CLASS], text, MESSAGES)
    assert hits == Oracle(known, text, MESSAGES).hits(5)
    assert hits or gone


def test_a_speaker_whose_messages_were_removed_is_no_longer_named() -> None:
    index = fresh_index()
    first = Passage(seq=1, text="Ana: hello", role=MessageRole.USER)
    second = Passage(seq=2, text="Luis: the name Ana is short", role=MessageRole.USER)
    index.append(CLASS, "session", [first, second])
    index.append(CLASS, "others", OTHERS)
    index.fold(CLASS)
    index.remove(CLASS, "session", upto=1)
    known = {("session", 2): second} | {("others", p.seq): p for p in OTHERS}
    hits = found(index, [CLASS], "is Ana short", MESSAGES)
    assert hits == Oracle(known, "is Ana short", MESSAGES).hits(5)
    assert set(hits[0].why.words) == {"ana", "short"}


def test_of_equal_words_the_one_before_counts() -> None:
    index = fresh_index()
    texts = ["a kite", "it flew", "a kite", "to the budget"]
    passages = [Passage(seq=n, text=text) for n, text in enumerate(texts, start=1)]
    index.append(CLASS, "session", passages)
    hits = found(index, [CLASS], "the kite", MESSAGES)
    offsets = {hit.seq: hit.why.words["kite"][1] for hit in hits}
    assert offsets == {1: 0, 2: -1, 3: 0, 4: -1}


def test_a_word_that_is_three_messages_away_in_another_segment_counts() -> None:
    index = fresh_index()
    texts = {1: "the kite", 2: "fine", 3: "well", 4: "a garden with so many other words in it"}
    known = {("session", n): Passage(seq=n, text=text) for n, text in texts.items()}
    known |= {(f"kite {n}", 1): Passage(seq=1, text="the kite?") for n in range(2)}
    known |= {(f"garden {n}", 1): Passage(seq=1, text=f"my garden {n}") for n in range(9)}
    for (parent, seq), passage in known.items():
        index.append(CLASS, parent, [passage])
        if seq > 1:
            index.fold(CLASS)
    few = replace(MESSAGES, candidates=1)
    hits = found(index, [CLASS], "the kite in a garden", few, limit=1)
    assert hits == Oracle(known, "the kite in a garden", few).hits(1)
    assert hits[0].why.words["garden"][1] == 3
