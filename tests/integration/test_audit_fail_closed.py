"""No administrative change is made without its event, whatever fails in a folder of JSON files."""

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AUDIT, Action, AuditEvent
from chatbot.domain.audit_chain import StoredEvent
from chatbot.domain.audit_check import verified
from chatbot.domain.authorization import of_host
from chatbot.domain.errors import AuditUnavailable, ChatbotError
from chatbot.domain.permissions import DEFAULT_ROLES, Role
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.transaction import Transaction
from faulty_files import Fault, FaultyFiles

KEY = b"k" * 32
DATA = Path("/data")
AUDITING = Auditing(KEY, clock=lambda: datetime(2030, 1, 1, tzinfo=UTC))
ROOT = of_host("root")
EVENT = AuditEvent(action=Action.ROLE_SET, object_type="role", object_id="employee")
OLD = DEFAULT_ROLES["employee"]
NEW = replace(OLD, description="Changed.")


def change(tx: Transaction) -> None:
    """Change a role, and record it."""
    with AUDITING.recording(tx, ROOT, EVENT):
        tx.records.put(ROLES, NEW, expected=OLD)


def seen(tx: Transaction) -> tuple[Role | None, list[JournalEntry]]:
    return tx.records.get(ROLES, "employee"), list(tx.journal.read(AUDIT, limit=99))


def check(role: Role | None, entries: list[JournalEntry]) -> None:
    """A changed role has its event, and the chain is intact."""
    assert role in {OLD, NEW}
    assert role == OLD or entries, "a change without an event"
    verdict = verified((StoredEvent(seq=e.seq, entry=e) for e in entries), [KEY])
    assert not verdict.findings


async def prepared(files: Files) -> JsonFileStorage:
    storage = JsonFileStorage(DATA, files)
    async with storage:
        await storage.make_initial_records()
    return storage


async def steps_of_the_change() -> tuple[int, int]:
    """Between which steps of the file system the change is made."""
    files = FaultyFiles()
    storage = await prepared(files)
    async with storage:
        before = len(files.steps)
        await storage.transact(change)
        return before, len(files.steps)


@pytest.mark.parametrize("fault", [Fault.ENOSPC, Fault.EIO])
async def test_change_has_its_event_whichever_step_of_the_file_system_fails(fault: Fault) -> None:
    begin, end = await steps_of_the_change()
    assert end - begin > 20
    refused = 0
    for step in range(end - begin):
        files = FaultyFiles()
        storage = await prepared(files)
        async with storage:
            files.faults = {len(files.steps) + step: fault}
            try:
                await storage.transact(change)
            except ChatbotError as error:
                refused += isinstance(error, AuditUnavailable)
            files.faults = {}
            check(*await storage.transact(seen))
            with suppress(ChatbotError):
                await storage.transact(lambda tx: AUDITING.note(tx, ROOT, EVENT))
            check(*await storage.transact(seen))
    assert refused > 5


async def test_change_is_not_made_while_every_write_of_the_audit_fails(tmp_path: Path) -> None:
    async with JsonFileStorage(tmp_path) as storage:
        await storage.make_initial_records()
        (tmp_path / "audit").write_bytes(b"in the way")
        with pytest.raises(AuditUnavailable):
            await storage.transact(change)
        role = await storage.transact(lambda tx: tx.records.get(ROLES, "employee"))
    assert role == OLD


async def test_database_undoes_the_event_with_the_change_and_the_change_with_the_event(
    sqlite_store: Path,
) -> None:
    def failing(tx: Transaction) -> None:
        change(tx)
        raise ZeroDivisionError

    storage: Storage = SqlStorage(SqliteDatabase(sqlite_store), replica="test")
    async with storage:
        with pytest.raises(ZeroDivisionError):
            await storage.transact(failing)
        assert await storage.transact(seen) == (OLD, [])
    await asyncio.to_thread(_break_the_audit, sqlite_store)
    async with SqlStorage(SqliteDatabase(sqlite_store), replica="test") as storage:
        with pytest.raises(ChatbotError):
            await storage.transact(change)
        assert await storage.transact(lambda tx: tx.records.get(ROLES, "employee")) == OLD


def _break_the_audit(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON journal_entries "
            "BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
        )
    database.close()
