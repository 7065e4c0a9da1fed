"""Records in one JSON document that people may edit, such as `users.json` and `roles.json`.

Every call checks the file's status, so that an edit applies from the next request. Unknown keys are
preserved when the file is rewritten.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from chatbot.adapters.filesystem.atomic import (
    exists,
    locked,
    make_durable_folders,
    put,
    read,
    remove_unfinished,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.in_memory.records import RecordTable
from chatbot.adapters.storage.json_files.edit_versions import EditVersions
from chatbot.adapters.storage.json_files.misspellings import require_no_misspelling
from chatbot.adapters.storage.json_files.record_files import Puts, RecordFiles
from chatbot.adapters.storage.json_files.watched import Watched
from chatbot.adapters.storage.json_values import (
    VERSION,
    Damaged,
    Json,
    JsonObject,
    dump,
    load,
    logging_path_of_errors,
    unique_object,
)
from chatbot.domain.errors import Conflict, StorageFailure, cause_of
from chatbot.domain.ports.records import Key, Kind, Layout, Record

_ADOPTION_WAIT_S = 1.0
_log = logging.getLogger("chatbot.storage")


@dataclass(frozen=True, slots=True)
class _Content(Generic[Record]):
    """One state of the file: the document, its raw entries, and the records."""

    document: Json
    entries: Mapping[Key, Json]
    table: RecordTable[Record]


class Document(RecordFiles[Record]):
    """The document of one kind of record.

    Args:
        is_serving: whether to store the numbers that edits have raised. Code that only reads
            the folder leaves it unchanged.
    """

    def __init__(self, root: Path, files: Files, kind: Kind[Record], *, is_serving: bool) -> None:
        self._folder, self._files, self._kind = root / kind.folder, files, kind
        self._is_serving = is_serving
        self._path = self._folder / f"{kind.name}.json"
        self._lock = self._folder / f".{kind.name}.lock"
        self._versions = (
            None
            if kind.edit_rule is None
            else EditVersions(self._folder, files, kind, kind.edit_rule)
        )
        self._watched = Watched(self._path, files, self._parse)

    def open(self) -> None:
        make_durable_folders(self._files, self._folder)

    def paths(self) -> list[Path]:
        return [self._path] if exists(self._files, self._path) else []

    def locked(self) -> AbstractContextManager[None]:
        self.open()
        return locked(self._files, self._lock)

    def known(self, *key: str) -> RecordTable[Record] | None:  # noqa: ARG002 # there is one file
        return self._watched.read_unless_changed()

    def get(self, key: Key, *, is_locked: bool) -> Record | None:
        return self.table(is_locked=is_locked).get(key)

    def page(
        self, *, field: str | None, value: str, after: Key, limit: int | None, is_locked: bool
    ) -> Sequence[Record]:
        table = self.table(is_locked=is_locked)
        return table.page(field=field, value=value, after=after, limit=limit)

    def change(self, puts: Puts[Record], removed: Iterable[Key] = ()) -> None:
        with logging_path_of_errors(self._path):
            content = self._content(self._read())
        table, entries = content.table, dict(content.entries)
        versions = None
        if self._versions is not None:
            versions = self._versions.current(table.by_key.values())
            self._versions.apply(versions, table)
        for record, expected in puts:
            table.put(record, expected=expected)
            key = self._kind.key_of(record)
            entries[key] = self._merged(key, entries.get(key, {}), record)
        is_removing = False
        for key in removed:
            entries.pop(key, None)
            is_removing = True
        document = {
            **content.document,
            "version": VERSION,
            self._kind.name: self._written(entries),
        }
        put(self._files, self._path, dump(document, indent=2) + b"\n")
        if is_removing:
            remove_unfinished(self._files, self._path)
        if self._versions is not None and versions is not None:
            self._versions.save(versions, [record for record, _ in puts])

    def verify(self, path: Path) -> None:
        self._content(read(self._files, path))

    # --- what is in the file -----------------------------------------------------------------

    def _read(self) -> bytes | None:
        try:
            return read(self._files, self._path)
        except FileNotFoundError:
            return None

    def table(self, *, is_locked: bool) -> RecordTable[Record]:
        if not is_locked:
            return self._watched.read()
        known = self.known()
        if known is not None:
            return known
        with logging_path_of_errors(self._path):
            raw = self._read()
            is_adopting = self._is_serving and raw is not None
            return self._with_numbers(self._content(raw).table, is_adopting=is_adopting)

    def tables(self, *, is_locked: bool) -> Sequence[RecordTable[Record]]:
        return [self.table(is_locked=is_locked)]

    def _parse(self, raw: bytes | None) -> RecordTable[Record]:
        """Read the records, and store the numbers that a manual edit has raised.

        If they cannot be written, for example because the disk is full, they apply in this process
        nevertheless, and are written with the next change or edit.
        """
        table = self._content(raw).table
        if self._versions is None or not self._is_serving or raw is None:
            return self._with_numbers(table)
        try:
            with locked(self._files, self._lock, wait_s=_ADOPTION_WAIT_S):
                is_newest = self._read() == raw  # otherwise another process has written since
                return self._with_numbers(table, is_adopting=is_newest)
        except StorageFailure as error:
            _log.warning("versions could not be saved: %s", cause_of(error))
            self._versions.apply(self._versions.keep_unwritten(table.by_key.values()), table)
            return table

    def _with_numbers(
        self, table: RecordTable[Record], *, is_adopting: bool = False
    ) -> RecordTable[Record]:
        """Set the current numbers of the records; store them if `is_adopting`."""
        if self._versions is not None:
            numbers_of = self._versions.adopt if is_adopting else self._versions.current
            self._versions.apply(numbers_of(table.by_key.values()), table)
        return table

    def _content(self, raw: bytes | None) -> _Content[Record]:
        """Read the document; without a file there are no records.

        Raises:
            Damaged: it is malformed, has a newer version, or contains an invalid record. The record
                is identified by its position or its key only: anyone may see the message.
        """
        name, form = self._path.name, codec(self._kind.type)
        if raw is None:
            return _Content({}, {}, RecordTable(self._kind))
        document = JsonObject(load(raw, name, hook=unique_object), name)
        document.require_version()
        read_entries = [
            (require_no_misspelling(self._kind, found, what), form.from_json(found, what))
            for what, found in self._entries(document)
        ]
        try:
            table = RecordTable(self._kind, (record for _, record in read_entries))
        except Conflict as error:
            fields = " or ".join([*self._kind.key, *self._kind.unique])
            raise Damaged(f"{name}: duplicate {fields}") from error
        entries = {self._kind.key_of(record): entry for entry, record in read_entries}
        return _Content(document.found, entries, table)

    def _entries(self, document: JsonObject) -> Iterator[tuple[str, object]]:
        """The entries of the document, each with its name in messages."""
        kind, name = self._kind, self._path.name
        if kind.layout is Layout.LIST:
            for number, found in enumerate(document.array(kind.name), 1):
                yield f"{name}, record {number}", found
            return
        [field] = kind.key
        for key, found in document.nested(kind.name).items():
            what = f"{name}, {kind.singular} {key}"
            yield what, {**JsonObject(found, what).found, field: key}

    def _written(self, entries: Mapping[Key, Json]) -> object:
        if self._kind.layout is Layout.LIST:
            return list(entries.values())
        [field] = self._kind.key
        return {
            key: {name: value for name, value in entry.items() if name != field}
            for (key,), entry in entries.items()
        }

    def _merged(self, key: Key, entry: Json, record: Record) -> Json:
        """The entry with the changed fields; the rest is preserved."""
        form = codec(self._kind.type)
        new = form.to_json(record)
        if not entry:
            return new
        fields = dict(zip(self._kind.key, key, strict=True))
        old = form.to_json(form.from_json({**fields, **entry}, self._kind.singular))
        kept = {name: value for name, value in entry.items() if name not in old.keys() - new.keys()}
        return {**kept, **{name: value for name, value in new.items() if old.get(name) != value}}
