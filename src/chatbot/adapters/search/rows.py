"""The port to the tables of the index, which each storage engine provides.

All statements have the scopes in their WHERE: no row of another access class is read, counted or changed.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from chatbot.adapters.search.vector_rows import VectorRows
from chatbot.domain.search import Scope


class TailRow(NamedTuple):
    """A passage that is in no segment yet: `record` is made by `records.record_of`."""

    parent: str
    seq: int
    record: bytes


class SegmentHead(NamedTuple):
    """A segment without its data: `dead` are the numbers of its removed passages, two bytes each."""

    id: int
    scope: Scope
    count: int  # type: ignore[assignment] # hides the method of tuples, which is not used
    dead: bytes


class IndexRows(VectorRows, Protocol):
    """The rows of the index, as one transaction sees them.

    An id of a segment is never used twice, as decoded segments are cached by it.
    """

    @abstractmethod
    def add_tail(self, scope: Scope, rows: Sequence[TailRow]) -> None:
        """Add rows to the tail, in place of those with the same parent and number."""

    @abstractmethod
    def tails(self, scopes: Collection[Scope]) -> Sequence[tuple[Scope, TailRow]]:
        """Return the rows of the tails, in any order."""

    @abstractmethod
    def drop_tail(self, scope: Scope, parent: str | None = None, upto: int | None = None) -> None:
        """Remove the rows of a parent, those up to a number, or without a parent all of the scope."""

    @abstractmethod
    def heads(self, scopes: Collection[Scope]) -> Sequence[SegmentHead]:
        """Return the segments without their data, by id."""

    @abstractmethod
    def data(self, scopes: Collection[Scope], ids: Sequence[int]) -> Mapping[int, bytes]:
        """Return the data of segments; those that no longer exist are left out."""

    @abstractmethod
    def add_segment(self, scope: Scope, count: int, data: bytes) -> None:
        """Add a segment under a new id."""

    @abstractmethod
    def set_dead(self, scope: Scope, segment_id: int, dead: bytes) -> None:
        """Replace the numbers of the removed passages."""

    @abstractmethod
    def drop_segment(self, scope: Scope, segment_id: int) -> None:
        """Remove a segment. No-op if absent."""

    @abstractmethod
    def lock(self, scope: Scope) -> None:
        """Exclude others that lock the scope, until the end of the transaction."""

    @abstractmethod
    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        """Replace the atoms of the scope's audience."""

    @abstractmethod
    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        """Return the scopes with one of the atoms in their audience, sorted."""
