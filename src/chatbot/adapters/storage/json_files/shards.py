"""Records in up to 256 small files with checksums, each for the keys with the same digest.

These files are not meant to be edited: a file that does not match its checksum is reported and
    never overwritten.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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
from chatbot.adapters.storage.json_files.checksummed import decode_file, encode_line
from chatbot.adapters.storage.json_files.record_files import KIND_LOCK, Puts, RecordFiles
from chatbot.adapters.storage.json_files.watched import Watched
from chatbot.adapters.storage.json_values import VERSION
from chatbot.domain.ports.records import Key, Kind, Record

_NAMES = frozenset(f"{number:02x}.json" for number in range(256))


class Shards(RecordFiles[Record]):
    """The shards of one kind of record."""

    def __init__(self, root: Path, files: Files, kind: Kind[Record]) -> None:
        self._folder = self.own_folder = root / kind.folder / kind.name
        self._files, self._kind = files, kind
        self._watched: dict[str, Watched[RecordTable[Record]]] = {}

    def open(self) -> None:
        """The folder is made by the first write."""

    def paths(self) -> list[Path]:
        return [self._folder / name for name in self._names()]

    def _names(self) -> list[str]:
        names = self._files.listdir(self._folder) if exists(self._files, self._folder) else []
        return sorted(_NAMES.intersection(names))

    @contextmanager
    def locked(self) -> Iterator[None]:
        make_durable_folders(self._files, self._folder)
        with locked(self._files, self._folder / KIND_LOCK):
            yield

    def known(self, *key: str) -> RecordTable[Record] | None:
        return self._watched_shard(_name_of(key)).read_unless_changed()

    def get(self, key: Key, *, is_locked: bool) -> Record | None:  # noqa: ARG002 # a shard is read alike
        return self._shard(_name_of(key)).get(key)

    def page(
        self,
        *,
        field: str | None,
        value: str,
        after: Key,
        limit: int | None,
        is_locked: bool,  # noqa: ARG002 # as above
    ) -> Sequence[Record]:
        found = [
            (self._kind.key_of(record), record)
            for name in self._names()
            for record in self._shard(name).page(field=field, value=value, limit=None)
        ]
        found.sort(key=lambda each: each[0])
        return [record for key, record in found if key > after][:limit]

    def table(self, *, is_locked: bool) -> RecordTable[Record]:  # noqa: ARG002 # as above
        records = (each for name in self._names() for each in self._shard(name).by_key.values())
        return RecordTable(self._kind, records)

    def tables(self, *, is_locked: bool) -> Sequence[RecordTable[Record]]:  # noqa: ARG002 # as above
        return [self._shard(name) for name in self._names()]

    def change(self, puts: Puts[Record], removed: Iterable[Key] = ()) -> None:
        self._require_free(puts)
        changed = dict[str, RecordTable[Record]]()

        def table_of(key: Key) -> RecordTable[Record]:
            name = _name_of(key)
            if name not in changed:
                changed[name] = RecordTable(self._kind, self._shard(name).by_key.values())
            return changed[name]

        for record, expected in puts:
            key = self._kind.key_of(record)
            table_of(key).put(record, expected=expected)
        gone = [key for key in removed if table_of(key).remove(key) is not None]
        for name, table in changed.items():
            put(self._files, self._folder / name, self._content(table))
        if gone:
            remove_unfinished(self._files, self._folder)

    def verify(self, path: Path) -> None:
        self._parse(read(self._files, path))

    def _require_free(self, puts: Puts[Record]) -> None:
        """Raise `Conflict` if a new value of a unique field is that of another record.

        Only for new values, so that damage elsewhere does not keep a record from being changed.
        """
        unique = self._kind.unique
        changed = [
            record
            for record, expected in puts
            if any(getattr(record, name) != getattr(expected, name, None) for name in unique)
        ]
        if changed:
            new = {self._kind.key_of(record): record for record, _ in puts}
            stored = (each for name in self._names() for each in self._shard(name).by_key.values())
            others = (each for each in stored if self._kind.key_of(each) not in new)
            RecordTable(self._kind, [*others, *new.values()])

    def _shard(self, name: str) -> RecordTable[Record]:
        return self._watched_shard(name).read()

    def _watched_shard(self, name: str) -> Watched[RecordTable[Record]]:
        if name not in self._watched:
            self._watched[name] = Watched(self._folder / name, self._files, self._parse)
        return self._watched[name]

    def _parse(self, raw: bytes | None) -> RecordTable[Record]:
        if raw is None:
            return RecordTable(self._kind)
        what = self._kind.name
        document = decode_file(raw, what)
        form = codec(self._kind.type)
        return RecordTable(
            self._kind, (form.from_json(found, what) for found in document.array("records"))
        )

    def _content(self, table: RecordTable[Record]) -> bytes:
        form = codec(self._kind.type)
        records = [form.to_json(record) for record in table.by_key.values()]
        return encode_line({"version": VERSION, "records": records})


def _name_of(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:2] + ".json"
