"""The ports to the search index: writing it in a transaction, and searching it.

The index is derived from messages and documents. Every look-up names the permitted access classes,
and every statistic comes from them alone: results are the same whether or not anything else exists.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from chatbot.domain.documents import label_atom
from chatbot.domain.identity import Owner
from chatbot.domain.search import Embedded, Hit, Passage, Scope


class Snapshot(Protocol):
    """The index of some access classes at one moment; only the engine reads it."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is nothing to find."""


class Prepared(Protocol):
    """The passages of a parent as the index stores them; only the engine reads it."""

    @property
    @abstractmethod
    def parent(self) -> str: ...


Prepare = Callable[[str, Sequence[Passage]], Awaitable[Prepared]]
"""Analyses the passages of a parent, which takes seconds for a large document: call it outside of
transactions.
"""


class SearchIndex(Protocol):
    """The index, as one transaction sees it. Vectors of passages are removed with the passages."""

    @abstractmethod
    def put(self, scope: Scope, parent: str, passages: Sequence[Passage]) -> None:
        """Index the passages of a parent, replacing those that it had in this class."""

    @abstractmethod
    def put_prepared(self, scope: Scope, prepared: Prepared) -> None:
        """Index passages that were prepared before the transaction: see `put`."""

    @abstractmethod
    def move(self, scope: Scope, to: Scope, parent: str) -> None:
        """Move the passages of a parent to another access class, without analysing them again."""

    @abstractmethod
    def append(self, scope: Scope, parent: str, passages: Sequence[Passage]) -> None:
        """Add passages of a parent to the index."""

    @abstractmethod
    def remove(self, scope: Scope, parent: str, *, upto: int | None = None) -> None:
        """Remove the passages of a parent, or those up to a number. No-op if there are none."""

    @abstractmethod
    def clear(self, scope: Scope) -> None:
        """Remove all passages of an access class, and its audience."""

    @abstractmethod
    def put_vectors(self, scope: Scope, parent: str, embedded: Embedded) -> None:
        """Add vectors of passages, in place of those that the model has made of them before.

        They stay with their passages, whatever moves or removes these. Those of passages that are
        not indexed in this class are left out, so that vectors which arrive after a deletion leave
        nothing behind. The caller makes sure that the passages still have the texts of the vectors.
        """

    @abstractmethod
    def vectors_of(
        self,
        scope: Scope,
        model: str,
        *,
        dimension: int | None = None,
        parent: str | None = None,
    ) -> Mapping[str, frozenset[int]]:
        """Return the numbers of each parent's passages that have a vector of this model.

        Of all parents, or of one; of vectors of any dimension, or of one.
        """

    @abstractmethod
    def drop_other_vectors(self, scope: Scope, model: str | None) -> None:
        """Remove the vectors of other models, or with None of all."""

    @abstractmethod
    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        """Set who may read an access class of documents: callers with one of the atoms."""

    @abstractmethod
    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        """Return the access classes with one of the atoms in their audience, sorted."""

    @abstractmethod
    def snapshot(self, scopes: Collection[Scope]) -> Snapshot:
        """Return the index of these access classes."""

    @abstractmethod
    def indexed(self, scope: Scope) -> Mapping[str, int]:
        """Return how many passages each parent has."""


def labelled(
    index: SearchIndex, scopes: Sequence[Scope], labels: Collection[str]
) -> Sequence[Scope]:
    """Return those of the access classes with one of the labels; all of them without labels."""
    if not labels:
        return scopes
    wanted = {*index.scopes_for([*map(label_atom, labels)])}
    return [scope for scope in scopes if scope in wanted]


PassageKey = tuple[str, int]
"""The parent and the number of a passage."""
ReadTexts = Callable[[Sequence[PassageKey]], Awaitable[Mapping[PassageKey, str]]]
"""Reads the texts of those passages of documents that may be found."""


class Search(Protocol):
    """Searches, off the event loop. Hits are in the order of their rank.

    `seen` is what `look` has returned in a transaction of the caller; without it, a search takes
    one of its own. All methods may raise `StorageUnavailable`.
    """

    @abstractmethod
    def look(self, index: SearchIndex, scopes: Collection[Scope]) -> Snapshot:
        """Return what a search of these access classes reads."""

    @abstractmethod
    async def messages(
        self,
        owner: Owner,
        query: str,
        *,
        limit: int,
        without: str | None = None,
        seen: Snapshot | None = None,
    ) -> Sequence[Hit]:
        """Return the owner's best matching messages, except those of the session `without`."""

    @abstractmethod
    async def documents(
        self,
        atoms: Collection[str],
        query: str,
        *,
        limit: int,
        labels: Collection[str] = (),
        seen: Snapshot | None = None,
        texts: ReadTexts | None = None,
    ) -> Sequence[Hit]:
        """Return the best matching passages of documents.

        Only of documents with one of the atoms in their audience and, if any are given, one of the
        labels. `texts` reads what the best of them say; without it, the searcher does.
        """

    @abstractmethod
    async def texts(
        self, query: str, passages: Mapping[str, Sequence[Passage]], *, limit: int
    ) -> Sequence[Hit]:
        """Return the best of the given passages, by parent, such as the items of a memory."""

    def answered(self, owner: Owner) -> None:  # noqa: ARG002 # only an index needs it
        """Note that a turn was stored: the index is kept fast in the background."""
        return

    async def aclose(self) -> None:
        """Stop the background work."""
        return
