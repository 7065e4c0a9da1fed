"""The search index of a folder of JSON files, as one piece of work sees it."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.folding import Plan
from chatbot.adapters.search.snapshots import StoredSnapshot
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.vector_pools import Codes
from chatbot.adapters.search.vector_snapshots import VectorSnapshot
from chatbot.adapters.storage.in_memory.index_rows import InMemoryIndexRows
from chatbot.adapters.storage.json_files.index_file import IndexFile
from chatbot.adapters.storage.json_files.log_index import LogIndex
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import StorageFull
from chatbot.domain.ports.search import Prepared
from chatbot.domain.ports.storage import Found
from chatbot.domain.search import Embedded, Passage, Scope, owner_of

_log = logging.getLogger("chatbot.storage")


class JsonSearchIndex(StoredIndex):
    """Each method is a transaction of its own on `index.db`, as each write to a file is.

    Messages are read from the logs of their sessions when they are searched.
    """

    def __init__(self, file: IndexFile, logs: LogIndex, cache: IndexCache) -> None:
        """Without the base's: it has no rows that outlast a method."""
        self._file, self._logs, self._cache = file, logs, cache

    def put_prepared(self, scope: Scope, prepared: Prepared) -> None:
        self._write(lambda index: index.put_prepared(scope, prepared))

    def move(self, scope: Scope, to: Scope, parent: str) -> None:
        self._write(lambda index: index.move(scope, to, parent), erases=True)

    def append(self, scope: Scope, parent: str, passages: Sequence[Passage]) -> None:
        self._write(lambda index: index.append(scope, parent, passages))

    def remove(self, scope: Scope, parent: str, *, upto: int | None = None) -> None:
        owner = owner_of(scope)
        if owner is not None:
            self._logs.remove(self._logs.paths(owner, SessionId(parent)), upto=upto)
        else:
            self._write(lambda index: index.remove(scope, parent, upto=upto), erases=True)

    def clear(self, scope: Scope) -> None:
        owner = owner_of(scope)
        if owner is not None:
            self._logs.clear(owner)
        else:
            self._write(lambda index: index.clear(scope), erases=True)

    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        self._write(lambda index: index.set_audience(scope, atoms))

    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        return self._read(lambda index: index.scopes_for(atoms))

    def snapshot(self, scopes: Collection[Scope]) -> StoredSnapshot:
        for owner in filter(None, map(owner_of, scopes)):
            try:
                self._logs.catch_up(owner)
            except StorageFull:
                _log.warning(
                    "the newest messages cannot be found: no space left for the search index"
                )
        return self._read(lambda index: index.snapshot(scopes))

    def indexed(self, scope: Scope) -> Mapping[str, int]:
        self._catch_up(scope)
        return self._read(lambda index: index.indexed(scope))

    def put_vectors(self, scope: Scope, parent: str, embedded: Embedded) -> None:
        self._catch_up(scope)
        self._write(lambda index: index.put_vectors(scope, parent, embedded))

    def vectors_of(
        self,
        scope: Scope,
        model: str,
        *,
        dimension: int | None = None,
        parent: str | None = None,
    ) -> Mapping[str, frozenset[int]]:
        return self._read(
            lambda index: index.vectors_of(scope, model, dimension=dimension, parent=parent)
        )

    def vector_snapshot(self, scopes: Collection[Scope], model: str) -> VectorSnapshot:
        return self._read(lambda index: index.vector_snapshot(scopes, model))

    def vector_codes(self, scopes: Collection[Scope], ids: Collection[int]) -> Mapping[int, Codes]:
        return self._read(lambda index: index.vector_codes(scopes, ids))

    def drop_other_vectors(self, scope: Scope, model: str | None) -> None:
        self._write(lambda index: index.drop_other_vectors(scope, model), erases=True)

    def plan(self, scope: Scope, *, is_whole: bool = False) -> Plan | None:
        return self._read(lambda index: index.plan(scope, is_whole=is_whole))

    def replace(self, plan: Plan, built: Sequence[tuple[int, bytes]]) -> bool:
        return self._write(lambda index: index.replace(plan, built))

    def _catch_up(self, scope: Scope) -> None:
        """Index all messages of a person."""
        owner = owner_of(scope)
        while owner is not None and not self._logs.catch_up(owner):
            pass

    def _read(self, work: Callable[[StoredIndex], Found]) -> Found:
        if not self._file.is_made():
            return work(StoredIndex(InMemoryIndexRows(), self._cache))
        return self._file.read(lambda session: work(StoredIndex(session.rows, self._cache)))

    def _write(self, work: Callable[[StoredIndex], Found], *, erases: bool = False) -> Found:
        return self._file.write(
            lambda session: work(StoredIndex(session.rows, self._cache)), erases=erases
        )
