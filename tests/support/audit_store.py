"""An audit in a real store, and its rows or lines as someone with access to them can change them."""

import asyncio
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from chatbot.adapters.storage.json_files.journal import JsonJournal
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.authorization import of_host
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_auditing, build_storage
from chatbot.entrypoints.settings.loading import load_settings

Row = dict[str, Any]
"""`seq`, `at` and `content` of an event."""

ROOT = of_host("root")


def event(number: int) -> AuditEvent:
    return AuditEvent(action=Action.USER_CREATE, object_type="user", object_id=f"u{number}")


def noting(auditing: Auditing, numbers: Iterable[int]) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        for number in numbers:
            auditing.note(tx, ROOT, event(number))

    return work


class AuditStore:
    """The store of the settings."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.auditing = build_auditing(self.settings)
        self.url = self.settings.storage.url

    def note(self, count: int) -> None:
        self.transact(noting(self.auditing, range(1, count + 1)))

    def transact(self, work: Callable[[Transaction], Any]) -> Any:
        async def done() -> Any:
            storage: Storage
            async with build_storage(self.settings) as storage:
                return await storage.transact(work)

        return asyncio.run(done())

    # --- what is stored ------------------------------------------------------------------------

    @property
    def is_json(self) -> bool:
        return self.url.scheme == "json"

    @property
    def file(self) -> Path:
        """The newest file of the audit of a JSON store."""
        [*_, newest] = sorted((self.url.local_folder / "audit").glob("*.jsonl"))
        return newest

    def rows(self) -> list[Row]:
        if self.is_json:
            lines = self.file.read_text("utf-8").splitlines()
            found = [json.loads(line) for line in lines]
            return [{name: each[name] for name in ("seq", "at", "content")} for each in found]
        query = (
            "SELECT seq, CAST(at AS text), CAST(content AS text) FROM journal_entries ORDER BY seq"
        )
        rows = self.execute([(query, ())])
        return [{"seq": seq, "at": at, "content": json.loads(text)} for seq, at, text in rows]

    def write(self, rows: Sequence[Row]) -> None:
        """Put these rows in the place of all, with checksums that match."""
        if self.is_json:
            self.file.write_bytes(b"".join(map(line_of, rows)))
            return
        mark = "?" if self.url.scheme == "sqlite" else "%s"
        insert = (
            "INSERT INTO journal_entries (journal, seq, at, content) "  # a mark
            f"VALUES ('audit', {mark}, {mark}, {mark})"
        )
        values = [(row["seq"], row["at"], json.dumps(row["content"])) for row in rows]
        self.execute([("DELETE FROM journal_entries", ()), *((insert, each) for each in values)])

    def execute(self, statements: Sequence[tuple[str, Any]]) -> list[Any]:
        """Run statements in the database, and return the rows of the last one."""
        if self.url.scheme == "sqlite":
            with closing(sqlite3.connect(str(self.url.path))) as database, database:
                for sql, values in statements:
                    found = database.execute(sql, values).fetchall()
            return found
        with psycopg.connect(self.url.raw) as connection:
            for sql, values in statements:
                cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []


def line_of(row: Row) -> bytes:
    body = json.dumps(row, separators=(",", ":"), ensure_ascii=False)[:-1].encode()
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def journal_of(folder: Path) -> JsonJournal:
    from chatbot.adapters.filesystem.files import Files  # noqa: PLC0415 - beside its only use

    return JsonJournal(folder, Files())
