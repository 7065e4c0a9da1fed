"""What Hypothesis writes to all stores alike: passages, vectors and audiences of access classes."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.domain.search import Passage, Scope
from chatbot.domain.transaction import Transaction
from vectors_of_texts import embedded

WORDS = [
    "kites",
    "sheds",
    "holidays",
    "salaries",
    "vacaciones",
    "empleados",
    "the",
    "la",
    "of",
    "number",
    "forms",
    "2026",
]
ATOMS = ("public", "role:a", "role:b", "department:sales", "label:x")

scopes = st.sampled_from(["one", "two", "three"])
parents = st.sampled_from(["p", "q", "r"])
atoms = st.sets(st.sampled_from(ATOMS), max_size=3)
texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join), max_size=5)
long_texts = texts.map(lambda few: (few or ["forms"]) * 20)


@dataclass
class World:
    """What was written: texts by access class, parent and number; audiences by access class."""

    prefix: str = field(default_factory=lambda: secrets.token_hex(4))
    passages: dict[tuple[Scope, str], dict[int, str]] = field(default_factory=dict)
    embedded: dict[tuple[Scope, str], set[int]] = field(default_factory=dict)
    audiences: dict[Scope, set[str]] = field(default_factory=dict)

    def scope(self, name: str) -> Scope:
        return Scope(f"{self.prefix} {name}")

    def texts(
        self, _: Transaction, keys: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], str]:
        named = {
            (p, seq): text for (_, p), all_ in self.passages.items() for seq, text in all_.items()
        }
        return {key: named[key] for key in keys if key in named}


Work = Callable[[Transaction], None]


def named(scope: str, parent: str) -> str:
    """A parent is in one access class only, as documents are."""
    return f"{parent} of {scope}"


def apply(world: World, step: tuple[object, ...]) -> Work:
    """Note a step in the world; returns what does it in a store."""
    match step:
        case ("clear" | "audience" | "fold", *_):
            return _of_scope(world, step)
        case _:
            return _of_parent(world, step)


def _of_parent(world: World, step: tuple[object, ...]) -> Work:
    match step:
        case ("put" | "append" as kind, str(name), str(short), list(found)):
            scope, parent = world.scope(name), named(name, short)
            there = world.passages.setdefault((scope, parent), {})
            if kind == "put":
                there.clear()
                world.embedded.pop((scope, parent), None)
            first = max(there, default=0) + 1
            new = dict(enumerate(map(str, found), first))
            there.update(new)
            passages = [Passage(seq=seq, text=text, heading="Forms") for seq, text in new.items()]
            if kind == "put":
                return lambda tx: tx.index.put(scope, parent, passages)
            return lambda tx: tx.index.append(scope, parent, passages)
        case ("remove", str(name), str(short), upto):
            scope, parent = world.scope(name), named(name, short)
            last = upto if isinstance(upto, int) else None
            there = world.passages.get((scope, parent), {})
            for seq in [each for each in there if last is None or each <= last]:
                del there[seq]
                world.embedded.get((scope, parent), set()).discard(seq)
            return lambda tx: tx.index.remove(scope, parent, upto=last)
        case ("embed", str(name), str(short), int(each)):
            scope, parent = world.scope(name), named(name, short)
            there = world.passages.get((scope, parent), {})
            given = {seq: text for seq, text in there.items() if seq % each == 0}
            world.embedded.setdefault((scope, parent), set()).update(given)
            return lambda tx: tx.index.put_vectors(scope, parent, embedded({**given, 999: "late"}))
        case ("move", str(name), str(other), str(short)):
            scope, to, parent = world.scope(name), world.scope(other), named(name, short)
            return lambda tx: _there_and_back(tx, scope, to, parent)
        case _:
            raise AssertionError(step)


def _of_scope(world: World, step: tuple[object, ...]) -> Work:
    match step:
        case ("clear", str(name)):
            scope = world.scope(name)
            world.passages = {key: each for key, each in world.passages.items() if key[0] != scope}
            world.embedded = {key: each for key, each in world.embedded.items() if key[0] != scope}
            world.audiences.pop(scope, None)
            return lambda tx: tx.index.clear(scope)
        case ("audience", str(name), set(found)):
            scope, audience = world.scope(name), {f"{world.prefix} {each}" for each in found}
            world.audiences[scope] = audience
            return lambda tx: tx.index.set_audience(scope, audience)
        case ("fold", str(name), bool(is_whole)):
            scope = world.scope(name)
            return lambda tx: _stored(tx).fold(scope, is_whole=is_whole)
        case _:
            raise AssertionError(step)


def _there_and_back(tx: Transaction, scope: Scope, to: Scope, parent: str) -> None:
    if scope == to:
        return
    there = tx.index.indexed(scope).get(parent, 0)
    tx.index.move(scope, to, parent)
    assert parent not in tx.index.indexed(scope)
    assert tx.index.indexed(to).get(parent, 0) == there
    tx.index.move(to, scope, parent)


def _stored(tx: Transaction) -> StoredIndex:
    assert isinstance(tx.index, StoredIndex)
    return tx.index


steps = st.one_of(
    st.tuples(st.just("put"), scopes, parents, texts | long_texts),
    st.tuples(st.just("append"), scopes, parents, texts),
    st.tuples(st.just("remove"), scopes, parents, st.none() | st.integers(1, 6)),
    st.tuples(st.just("embed"), scopes, parents, st.sampled_from([1, 1, 2, 3])),
    st.tuples(st.just("move"), scopes, scopes, parents),
    st.tuples(st.just("clear"), scopes),
    st.tuples(st.just("audience"), scopes, atoms),
    st.tuples(st.just("fold"), scopes, st.booleans()),
)
