"""Random worlds with vectors: some passages get them, at any time."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import strategies as st

from chatbot.adapters.search.searcher import Searcher, _Asked, _own
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.weighting import Weights
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Hit, Scope, Vector
from search_worlds import Write, apply, left_of, writes
from vectors_of_texts import WordEmbedder, embedded, vector_of

DIMENSION = 12


@dataclass(frozen=True)
class Embed:
    """Vectors for some passages of a parent, which may have been removed meanwhile."""

    scope: Scope
    parent: str
    texts: Mapping[int, str]


Change = Write | Embed


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    """The writes of `search_worlds`, and vectors of what was written, sometimes too late."""
    done: list[Change] = []
    known: dict[tuple[Scope, str], dict[int, str]] = {}
    for write in draw(writes()):
        done.append(write)
        texts = known.setdefault((write.scope, write.parent), {})
        if write.what == "put":
            texts.clear()
        texts |= {passage.seq: passage.text for passage in write.passages}
        chosen = draw(st.sampled_from([0, 0, 1, 2, 3]))
        if chosen and texts:
            given = {seq: text for seq, text in texts.items() if seq % chosen == 0}
            done.append(Embed(write.scope, write.parent, given))
    return done


def make(index: StoredIndex, done: Sequence[Change], scopes: Collection[Scope] = ()) -> None:
    """Apply the changes, or those of some access classes."""
    for each in done:
        if scopes and each.scope not in scopes:
            continue
        if isinstance(each, Write):
            apply(index, each)
        else:
            given = embedded(each.texts, dimension=DIMENSION)
            index.put_vectors(each.scope, each.parent, given)


def vectors_of(done: Sequence[Change], scopes: Sequence[Scope]) -> dict[tuple[str, int], Vector]:
    """The vectors that are left after the changes."""
    left: dict[tuple[str, int], Vector] = {}
    written: list[Write] = []
    for each in done:
        if isinstance(each, Write):
            written.append(each)
            there = left_of(written, scopes)
            removed = {(each.parent, seq) for seq in range(10**3)} if each.what == "put" else set()
            left = {key: v for key, v in left.items() if key in there and key not in removed}
        elif each.scope in scopes:
            there = left_of(written, scopes)
            given = {(each.parent, seq): text for seq, text in each.texts.items()}
            left |= {k: vector_of(t, DIMENSION) for k, t in given.items() if k in there}
    return left


def writes_in(done: Sequence[Change]) -> list[Write]:
    return [each for each in done if isinstance(each, Write)]


def found_with_vectors(
    index: StoredIndex,
    scopes: Sequence[Scope],
    text: str,
    weights: Weights,
    *,
    without: str | None = None,
) -> Sequence[Hit]:
    """What a search finds by words and by meaning."""

    async def transact(work: Callable[[Any], Any]) -> Any:
        return work(SimpleNamespace(index=index))

    async def search() -> Sequence[Hit]:
        storage = cast("Storage", SimpleNamespace(transact=transact))
        searcher = Searcher(storage, lambda *_: {}, WordEmbedder(DIMENSION))
        view = _own(searcher.look(index, scopes))
        if view.is_empty:
            return []
        asked = _Asked(text, weights, 2, without)
        found = await searcher._found(view, asked, lambda found: found.hits(2))
        await searcher.aclose()
        return found or []

    return asyncio.run(search())
