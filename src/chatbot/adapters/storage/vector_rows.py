"""The rows of vectors in a database."""

from collections.abc import Collection, Mapping, Sequence

from chatbot.adapters.search.vector_rows import (
    VectorChunk,
    VectorHead,
    VectorPart,
    VectorRows,
    VectorSigns,
)
from chatbot.adapters.storage.index_statements import IndexStatements, as_list, new_id
from chatbot.domain.search import Scope

_HEADS = "SELECT id, scope, dimension FROM index_vectors WHERE scope {scopes} AND model = :model"
_SIGNS = """
    SELECT id, parent, dimension, seqs, signs FROM index_vectors WHERE scope {scopes} AND id {ids}
"""
_CODES = "SELECT id, codes FROM index_vectors WHERE scope {scopes} AND id {ids}"
_PARTS = "SELECT id, parent, model, dimension, seqs FROM index_vectors WHERE scope = :scope"
_ADD = """
    INSERT INTO index_vectors (id, scope, parent, model, dimension, seqs, signs, codes)
    VALUES (:id, :scope, :parent, :model, :dimension, :seqs, :signs, :codes)
"""
_MOVE = "UPDATE index_vectors SET scope = :to WHERE scope = :scope AND parent = :parent"
_DROP = "DELETE FROM index_vectors WHERE scope = :scope"
_OF_PARENT, _BY_ID = " AND parent = :parent", " AND id {ids}"


class StatementVectorRows(IndexStatements, VectorRows):
    """The table `index_vectors`."""

    def vector_heads(self, scopes: Collection[Scope], model: str) -> Sequence[VectorHead]:
        rows = self._read(_HEADS, {"model": model}, scopes=scopes)
        return sorted(map(VectorHead._make, rows))

    def vector_signs(
        self, scopes: Collection[Scope], ids: Collection[int]
    ) -> Sequence[VectorSigns]:
        return [VectorSigns._make(row) for row in self._read(_SIGNS, scopes=scopes, ids=ids)]

    def vector_codes(self, scopes: Collection[Scope], ids: Collection[int]) -> Mapping[int, bytes]:
        return dict(self._read(_CODES, scopes=scopes, ids=ids))

    def vector_parts(self, scope: Scope, parent: str | None = None) -> Sequence[VectorPart]:
        of_parent = "" if parent is None else _OF_PARENT
        rows = self._read(_PARTS + of_parent, {"scope": scope, "parent": parent})
        return sorted(map(VectorPart._make, rows))

    def add_vectors(self, scope: Scope, chunk: VectorChunk) -> None:
        self._sql.write(_ADD, {"id": new_id(), "scope": scope, **chunk._asdict()})

    def move_vectors(self, scope: Scope, to: Scope, parent: str) -> None:
        self._sql.write(_MOVE, {"scope": scope, "to": to, "parent": parent})

    def drop_vectors(
        self, scope: Scope, parent: str | None = None, ids: Collection[int] | None = None
    ) -> None:
        values: dict[str, object] = {"scope": scope}
        statement = _DROP
        if parent is not None:
            statement, values["parent"] = statement + _OF_PARENT, parent
        if ids is not None:
            statement, values["ids"] = statement + _BY_ID, as_list(ids)
        self._sql.write(self._text(statement), values)
