"""What is similar in meaning is relevant without a common word; what is only the closest is not."""

from collections.abc import Sequence
from random import Random

import pytest

from chatbot.adapters.search.weighting import DOCUMENTS, MESSAGES
from chatbot.application.relevance import Query, queries_for
from chatbot.domain.identity import Owner
from chatbot.domain.search import Embedded, Hit, Passage, Reason, Scope, Vector, messages_scope
from index_storage import IndexStorage
from meaning import vector_of
from vectors_of_texts import MODEL, WordEmbedder

ANA = Owner(kind="user", id="ana")
DIMENSION = 256
SCOPE = Scope("one")
DAYS_OFF = "Everybody gets thirty days off per year."
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
QUERY = Query(text="", words=frozenset("abcde"))


class Synonyms(WordEmbedder):
    """The embeddings of the fake provider."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [vector_of(text, DIMENSION) for text in texts]


def made_words(chance: Random, count: int) -> str:
    return " ".join("".join(chance.choices(SYLLABLES, k=4)) for _ in range(count))


def company() -> IndexStorage:
    """A document and a conversation of 200 texts, one of them about days off."""
    store, chance = IndexStorage(Synonyms()), Random(3)
    texts = [DAYS_OFF, *(made_words(chance, 15) for _ in range(199))]
    vectors = {seq: vector_of(text, DIMENSION) for seq, text in enumerate(texts, start=1)}
    store.add_document(SCOPE, "rules", texts, {"public"})
    store.index.put_vectors(SCOPE, "rules", Embedded(model=MODEL, vectors=vectors))
    said = [Passage(seq=seq, text=text) for seq, text in enumerate(texts, start=1)]
    store.index.append(messages_scope(ANA), "s1", said)
    store.index.put_vectors(messages_scope(ANA), "s1", Embedded(model=MODEL, vectors=vectors))
    return store


async def relevant(store: IndexStorage, prompt: str) -> list[tuple[str, int]]:
    """The hits that a prompt would get."""
    [query] = queries_for(prompt, [])
    passages = await store.searcher.documents({"public"}, prompt, limit=20)
    messages = await store.searcher.messages(ANA, prompt, limit=20)
    assert passages
    assert messages
    found = [*query.relevant_passages(passages), *query.relevant_messages(messages)]
    return [(hit.parent, hit.seq) for hit in found]


@pytest.mark.parametrize("prompt", ["¿Cuántas vacaciones tengo?", "How much leave do I have?"])
async def test_what_means_the_same_is_relevant_without_a_common_word(prompt: str) -> None:
    assert await relevant(company(), prompt) == [("rules", 1), ("s1", 1)]


async def test_nothing_is_relevant_for_a_question_without_a_meaning() -> None:
    store, chance = company(), Random(4)
    for _ in range(20):
        assert await relevant(store, made_words(chance, 3)) == []


def meant(likeness: float, meaning: float) -> Hit:
    return Hit(parent="d", seq=1, score=1.0, why=Reason(likeness=likeness, meaning=meaning))


OTHER = Hit(parent="d", seq=2, score=20.0, why=Reason(words=dict.fromkeys("abc", (1.0, 0))))


def test_a_hit_by_meaning_stands_out_among_the_candidates() -> None:
    far = [OTHER, meant(0.34, 9.0)]
    average = [OTHER, meant(0.9, 0.9)]
    assert [*QUERY.relevant_passages(far)] == [*QUERY.relevant_messages(far)] == [OTHER]
    assert [*QUERY.relevant_messages(average)] == [OTHER]
    between = [OTHER, meant(0.35, 1.0)]
    assert [*QUERY.relevant_messages(between)] == between
    assert [*QUERY.relevant_passages(between)] == [OTHER]
    close = [OTHER, meant(0.35, 2.0)]
    assert [*QUERY.relevant_passages(close)] == close
    assert (DOCUMENTS.meaning, MESSAGES.meaning) == (2.0, 1.0)


def test_the_only_candidate_has_nothing_to_stand_out_from() -> None:
    only = [meant(0.5, 0.0)]
    assert [*QUERY.relevant_passages(only)] == [*QUERY.relevant_messages(only)] == only
    assert [*QUERY.relevant_passages([meant(0.3, 0.0)])] == []
