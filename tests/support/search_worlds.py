"""Random access classes with passages, for Hypothesis: what was written, and an index of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from chatbot.adapters.search.questions import question_of
from chatbot.adapters.search.scoring import Ranking
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.weighting import DOCUMENTS, MESSAGES, Weights
from chatbot.domain.chat import MessageRole
from chatbot.domain.ports.search import SearchIndex
from chatbot.domain.search import Hit, Passage, Scope

SCOPES = tuple(Scope(f"class {letter}") for letter in "abcd")
WORDS = [
    "kite",
    "kites",
    "flying",
    "garden",
    "the",
    "of",
    "and",
    "you",
    "I",
    "did",
    "my",
    "permiso",
    "de",
    "la",
    "el",
    "vacaciones",
    "niño",
    "año",
    "invoice",
    "4711",
    "Rechnung",
    "und",
    "nicht",
    "Ana",
    "Ana's",
    "budget",
    "said",
    "¿qué?",
    "was",
]
FEW_MESSAGES = replace(MESSAGES, candidates=3)
FEW_DOCUMENTS = replace(DOCUMENTS, candidates=3)

texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
messages = st.tuples(st.sampled_from(["", "", "Ana: ", "Luis Pe: "]), texts, st.sampled_from(".?"))
roles = st.sampled_from([None, *MessageRole])


@dataclass(frozen=True)
class Write:
    """One change of the index."""

    what: str
    scope: Scope
    parent: str
    passages: tuple[Passage, ...] = ()
    upto: int | None = None


@st.composite
def writes(draw: st.DrawFn) -> list[Write]:
    """Messages and documents that are written, replaced, removed and folded. A parent has one class."""
    done: list[Write] = []
    last: dict[str, int] = {}
    for _ in range(draw(st.integers(1, 14))):
        parent = draw(st.sampled_from(["p1", "p2", "p3", "p4", "p5", "p6"]))
        scope = SCOPES[int(parent[1:]) % len(SCOPES)]
        what = draw(
            st.sampled_from(["append", "append", "append", "put", "remove", "fold", "whole"])
        )
        count = draw(st.sampled_from([1, 2, 5, 70])) if what in {"append", "put"} else 0
        gap = draw(st.sampled_from([1, 1, 1, 3]))
        first = last.get(parent, 0) + gap if what == "append" else 1
        given = [draw(_passages(first + n)) for n in range(min(count, 5))]
        passages = tuple(replace(given[n % len(given)], seq=first + n) for n in range(count))
        last[parent] = passages[-1].seq if passages else last.get(parent, 0)
        upto = draw(st.none() | st.integers(0, 6)) if what == "remove" else None
        done.append(Write(what, scope, parent, passages, upto))
    return done


@st.composite
def _passages(draw: st.DrawFn, seq: int) -> Passage:
    text = "".join(draw(messages))
    return Passage(
        seq=seq, text=text, heading=draw(st.sampled_from(["", "budget"])), role=draw(roles)
    )


def apply(index: StoredIndex, write: Write) -> None:
    match write.what:
        case "put":
            index.put(write.scope, write.parent, write.passages)
        case "append":
            index.append(write.scope, write.parent, write.passages)
        case "remove":
            index.remove(write.scope, write.parent, upto=write.upto)
        case "fold":
            index.fold(write.scope)
        case _:
            index.fold(write.scope, is_whole=True)


def left_of(done: Sequence[Write], scopes: Sequence[Scope]) -> dict[tuple[str, int], Passage]:
    """What the classes hold after these writes."""
    left: dict[tuple[str, int], Passage] = {}
    for write in done:
        if write.what in {"put", "remove"}:
            upto = write.upto if write.upto is not None else 10**9
            left = {k: p for k, p in left.items() if k[0] != write.parent or k[1] > upto}
        if write.scope in scopes:
            left |= {(write.parent, passage.seq): passage for passage in write.passages}
    return left


def found(
    index: SearchIndex,
    scopes: Sequence[Scope],
    text: str,
    weights: Weights,
    *,
    limit: int = 5,
    without: str | None = None,
) -> Sequence[Hit]:
    """What the index finds by words alone."""
    assert isinstance(index, StoredIndex)
    opened, question = index.snapshot(scopes).opened(), question_of(text)
    if not opened.statistics.terms or not question.terms:
        return []
    ranking = Ranking(opened, question, weights, limit=limit, without=without)
    return [ranking.hit(each) for each in ranking.best()[:limit]]
