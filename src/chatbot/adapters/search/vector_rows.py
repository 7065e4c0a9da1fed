"""The port to the table of vectors, which each storage engine provides beside those of the words.

A row is a chunk: some vectors of one parent. It is never changed but replaced under a new id, so that
what is decoded can be cached by its id. All statements have the scopes in their WHERE.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from chatbot.domain.search import Scope


class VectorHead(NamedTuple):
    """A chunk without its vectors."""

    id: int
    scope: Scope
    dimension: int


class VectorPart(NamedTuple):
    """Which passages a chunk has vectors of: `seqs` has four bytes for each number."""

    id: int
    parent: str
    model: str
    dimension: int
    seqs: bytes


class VectorSigns(NamedTuple):
    """The signs of the vectors of a chunk, one after the other."""

    id: int
    parent: str
    dimension: int
    seqs: bytes
    signs: bytes


class VectorChunk(NamedTuple):
    """A new chunk: `codes` have the vectors without their signs, one after the other."""

    parent: str
    model: str
    dimension: int
    seqs: bytes
    signs: bytes
    codes: bytes


class VectorRows(Protocol):
    """The rows of vectors, as one transaction sees them. An id is never used twice."""

    @abstractmethod
    def vector_heads(self, scopes: Collection[Scope], model: str) -> Sequence[VectorHead]:
        """Return the chunks of a model, by id."""

    @abstractmethod
    def vector_signs(
        self, scopes: Collection[Scope], ids: Collection[int]
    ) -> Sequence[VectorSigns]:
        """Return the signs of chunks; those that no longer exist are left out."""

    @abstractmethod
    def vector_codes(self, scopes: Collection[Scope], ids: Collection[int]) -> Mapping[int, bytes]:
        """Return the codes of chunks by id; those that no longer exist are left out."""

    @abstractmethod
    def vector_parts(self, scope: Scope, parent: str | None = None) -> Sequence[VectorPart]:
        """Return the chunks of a parent, or all of the scope, without their vectors, by id."""

    @abstractmethod
    def add_vectors(self, scope: Scope, chunk: VectorChunk) -> None:
        """Add a chunk under a new id."""

    @abstractmethod
    def move_vectors(self, scope: Scope, to: Scope, parent: str) -> None:
        """Move the chunks of a parent to another scope, under their ids."""

    @abstractmethod
    def drop_vectors(
        self, scope: Scope, parent: str | None = None, ids: Collection[int] | None = None
    ) -> None:
        """Remove the chunks of a parent, those with the ids, or with neither all of the scope."""
