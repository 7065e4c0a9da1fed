"""The numbers that manual edits of a document have raised, in a file next to it.

`users.json` can be edited by hand, and an edit can be reverted: a user who is disabled and
re-enabled has the same record as before, while the old tokens must stay revoked. So this file
stores, for each record, the current number and a digest of the record that it belongs to. A record
with another digest was edited manually, which raises the number: see `EditRule`.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic

from chatbot.adapters.filesystem.atomic import put, read
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.in_memory.records import RecordTable
from chatbot.adapters.storage.json_files.checksummed import decode_file, encode_line
from chatbot.adapters.storage.json_values import VERSION, Damaged, Json, JsonObject
from chatbot.domain.ports.records import EditRule, Kind, Record
from chatbot.domain.text import rfc3339

_GONE = ""
"""The digest of a record that is not in the document: one that is added again counts as new."""
_log = logging.getLogger("chatbot.storage")


@dataclass(frozen=True, slots=True)
class CurrentNumber:
    """The current number, and the digest of the record that it belongs to."""

    digest: str
    number: int


Versions = Mapping[str, CurrentNumber]
"""By the key of the record."""


class EditVersions(Generic[Record]):
    """The file of one kind of record; writers hold the lock of its document."""

    def __init__(self, folder: Path, files: Files, kind: Kind[Record], rule: EditRule) -> None:
        self._path = folder / f".{rule.field.replace('_', '-')}s.json"
        self._files, self._kind, self._rule = files, kind, rule
        self._unwritten: Versions = {}

    def current(self, records: Iterable[Record]) -> dict[str, CurrentNumber]:
        """Return the numbers for these records, and those of deleted records."""
        known = self._known()
        now = {}
        for record in records:
            key = self._key(record)
            now[key] = self._next(record, known.get(key))
        gone = {key: replace(each, digest=_GONE) for key, each in known.items() if key not in now}
        return {**gone, **now}

    def adopt(self, records: Iterable[Record]) -> Versions:
        """Store the numbers that an edit has raised, if any, and return the current numbers."""
        versions = self.current(records)
        if versions != self._load():
            self._save(versions)
        return versions

    def save(self, versions: Versions, changed: Iterable[Record]) -> None:
        """Store the current numbers, and those of records that this service has changed."""
        self._save({**versions, **{self._key(record): self._of(record) for record in changed}})

    def keep_unwritten(self, records: Iterable[Record]) -> Versions:
        """Return the current numbers, and remember them, because they cannot be written now."""
        self._unwritten = self.current(records)
        return self._unwritten

    def apply(self, versions: Versions, table: RecordTable[Record]) -> None:
        """Set the current numbers of the records of the table."""
        field = self._rule.field
        for record in list(table.by_key.values()):
            number = versions[self._key(record)].number
            if getattr(record, field) != number:
                raised = replace(record, **{field: number})  # type: ignore[type-var] # a dataclass
                table.put(raised, expected=record)

    def _save(self, versions: Versions) -> None:
        found: Json = {key: [each.digest, each.number] for key, each in versions.items()}
        put(self._files, self._path, encode_line({"version": VERSION, self._kind.name: found}))
        self._unwritten = {}

    def _next(self, record: Record, known: CurrentNumber | None) -> CurrentNumber:
        found = self._of(record)
        if known is None or found.number > known.number:
            return found
        if known.digest == found.digest:
            return known
        return CurrentNumber(found.digest, self._rule.after(known.number))

    def _known(self) -> Versions:
        """Return the stored and the unwritten numbers; of both, the later one."""
        written = self._load()
        later = {
            key: each
            for key, each in self._unwritten.items()
            if key not in written or each.number > written[key].number
        }
        return {**written, **later}

    def _load(self) -> Versions:
        """Read the file; empty if it is missing or damaged, for records have their own number too."""
        try:
            return self._parsed(read(self._files, self._path))
        except FileNotFoundError:
            return {}
        except Damaged as damage:
            _log.warning("%s: %s; the file is rewritten", self._path, damage)
            return {}

    def _of(self, record: Record) -> CurrentNumber:
        number: int = getattr(record, self._rule.field)
        values = [*(getattr(record, name) for name in self._rule.of), number]
        values += [rfc3339(at) for at in map(partial(getattr, record), self._rule.moments) if at]
        text = json.dumps(values)
        return CurrentNumber(hashlib.sha256(text.encode()).hexdigest()[:32], number)

    def _key(self, record: Record) -> str:
        return " ".join(self._kind.key_of(record))

    def _parsed(self, raw: bytes) -> Versions:
        what = "versions"
        document = decode_file(raw, what)
        found = {}
        for key, entry in document.nested(self._kind.name).items():
            digest, number = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
            fields = JsonObject({"digest": digest, "number": number}, what)
            found[key] = CurrentNumber(fields.text("digest"), fields.number("number"))
        return found
