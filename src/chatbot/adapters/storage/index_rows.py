"""The rows of the search index in a database, by statements that SQLite and Postgres both know."""

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

from chatbot.adapters.search.rows import IndexRows, SegmentHead, TailRow
from chatbot.adapters.storage.index_statements import as_list, new_id
from chatbot.adapters.storage.vector_rows import StatementVectorRows
from chatbot.domain.search import Scope

_TAILS = "SELECT scope, parent, seq, record FROM index_tail WHERE scope {scopes}"
_HEADS = "SELECT id, scope, count, dead FROM index_segments WHERE scope {scopes}"
_DATA = "SELECT id, data FROM index_segments WHERE scope {scopes} AND id {ids}"
_SCOPES = "SELECT scope FROM index_audiences WHERE atom {atoms}"
_ADD_TAIL = """
    INSERT INTO index_tail (scope, parent, seq, record) VALUES (:scope, :parent, :seq, :record)
    ON CONFLICT (scope, parent, seq) DO UPDATE SET record = excluded.record
"""
_ADD_SEGMENT = """
    INSERT INTO index_segments (id, scope, count, data, dead)
    VALUES (:id, :scope, :count, :data, :dead)
"""
_SET_DEAD = "UPDATE index_segments SET dead = :dead WHERE scope = :scope AND id = :id"
_DROP_SEGMENT = "DELETE FROM index_segments WHERE scope = :scope AND id = :id"
_DROP_TAIL = "DELETE FROM index_tail WHERE scope = :scope"
_DROP_ATOMS = "DELETE FROM index_audiences WHERE scope = :scope AND NOT (atom {atoms})"
_ADD_ATOM = """
    INSERT INTO index_audiences (atom, scope) VALUES (:atom, :scope)
    ON CONFLICT (atom, scope) DO NOTHING
"""


class StatementIndexRows(StatementVectorRows, IndexRows):
    """The tables `index_segments`, `index_tail` and `index_audiences`, and that of vectors."""

    def add_tail(self, scope: Scope, rows: Sequence[TailRow]) -> None:
        if rows:
            self._sql.write(_ADD_TAIL, *({"scope": scope, **row._asdict()} for row in rows))

    def tails(self, scopes: Collection[Scope]) -> Sequence[tuple[Scope, TailRow]]:
        rows = self._read(_TAILS, scopes=scopes)
        return [(Scope(scope), TailRow(*row)) for scope, *row in rows]

    def drop_tail(self, scope: Scope, parent: str | None = None, upto: int | None = None) -> None:
        statement = _DROP_TAIL
        if parent is not None:
            statement += " AND parent = :parent"
        if upto is not None:
            statement += " AND seq <= :upto"
        self._sql.write(statement, {"scope": scope, "parent": parent, "upto": upto})

    def heads(self, scopes: Collection[Scope]) -> Sequence[SegmentHead]:
        heads = map(SegmentHead._make, self._read(_HEADS, scopes=scopes))
        return sorted(heads, key=itemgetter(0))

    def data(self, scopes: Collection[Scope], ids: Sequence[int]) -> Mapping[int, bytes]:
        return dict(self._read(_DATA, scopes=scopes, ids=ids))

    def add_segment(self, scope: Scope, count: int, data: bytes) -> None:
        new = {"id": new_id(), "scope": scope, "count": count, "data": data}
        self._sql.write(_ADD_SEGMENT, {**new, "dead": b""})

    def set_dead(self, scope: Scope, segment_id: int, dead: bytes) -> None:
        self._sql.write(_SET_DEAD, {"scope": scope, "id": segment_id, "dead": dead})

    def drop_segment(self, scope: Scope, segment_id: int) -> None:
        self._sql.write(_DROP_SEGMENT, {"scope": scope, "id": segment_id})

    def lock(self, scope: Scope) -> None:
        self._sql.lock(f"index {scope}")

    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        dropped = {"scope": scope, "atoms": as_list(atoms)}
        self._sql.write(self._text(_DROP_ATOMS), dropped)
        if atoms:
            added = ({"atom": atom, "scope": scope} for atom in sorted(atoms))
            self._sql.write(_ADD_ATOM, *added)

    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        return sorted({Scope(scope) for (scope,) in self._read(_SCOPES, atoms=atoms)})
