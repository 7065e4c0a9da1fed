"""Each field of each stored type is kept by every store, in a backup and in a migration.

A field that is added to one of the types is in these tests by itself.
"""

from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.adapters.storage.codec import codec
from chatbot.application.transfer import Outcome, StoreCopy
from chatbot.domain.chat import Message, MessageRole, Session, SessionId
from chatbot.domain.identity import User
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import Role
from chatbot.domain.ports.export import Conversation, ExportTarget, Item
from chatbot.domain.ports.storage import Storage
from chatbot.domain.sign_in import RefreshFamily
from chatbot.domain.transaction import KINDS, Transaction
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from filled import filled
from samples import T0, everything_in, fill

MESSAGES = (
    filled(Message, seq=8, role=MessageRole.USER),
    filled(Message, seq=9, role=MessageRole.ASSISTANT),
)
SESSION = filled(
    Session,
    id=SessionId("5" * 32),
    title=MESSAGES[0].content,
    message_count=len(MESSAGES),
    last_seq=MESSAGES[-1].seq,
)
CONVERSATION = Conversation(session=SESSION, messages=MESSAGES, memory=filled(Memory))
GIVEN = {"users": {"email": "ana@example.com"}}
"""Values of fields that cannot have any value, by the name of the kind."""
RECORDS = [filled(kind.type, **GIVEN.get(kind.name, {})) for kind in KINDS]
ITEMS: Sequence[Item] = [*RECORDS, CONVERSATION]


@pytest.fixture(params=["json", "sqlite", "postgres"])
def export(request: pytest.FixtureRequest, tmp_path: Path) -> ExportTarget:
    match request.param:
        case "json":
            url = f"json:{tmp_path / 'data'}"
        case "sqlite":
            url = f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case _:
            url = request.getfixturevalue("postgres_store")
    return export_at(url)


def export_at(raw: str) -> ExportTarget:
    url = parse_storage_url(raw)
    return backend_of(url).export(url)


@pytest.mark.parametrize("record", [*RECORDS, SESSION, *MESSAGES, filled(Memory)])
def test_codec_returns_what_it_was_given(record: object) -> None:
    form = codec(type(record))
    assert form.from_json(form.to_json(record), "record") == record


def test_export_keeps_every_field(export: ExportTarget) -> None:
    with export:
        fill(export, [*ITEMS])
        assert [export.find(item) for item in ITEMS] == ITEMS


def test_backup_keeps_every_field(tmp_path: Path) -> None:
    BackupFile(tmp_path / "b.gz").write(ITEMS, made_at=T0)
    assert everything_in(BackupFile(tmp_path / "b.gz")) == ITEMS


def test_migration_keeps_every_field(export: ExportTarget, tmp_path: Path) -> None:
    source = export_at(f"json:{tmp_path / 'source'}")
    fill(source, [*ITEMS])
    with export:
        steps = list(StoreCopy(source, export).steps())
        assert {step.outcome for step in steps} <= {Outcome.NEW, Outcome.SAME}
        assert [export.find(item) for item in ITEMS] == ITEMS


async def test_service_keeps_every_field(closed_storage: Storage) -> None:
    new = replace(SESSION, title="", message_count=0, last_seq=0, epoch=0)
    memory = replace(filled(Memory), version=0)

    def write(tx: Transaction) -> None:
        for kind, record in zip(KINDS, RECORDS, strict=True):
            tx.records.put(kind, record, expected=None)
        tx.sessions.create(new)
        assert tx.sessions.put_memory(new.owner, new.id, memory, epoch=0)

    def read(tx: Transaction) -> list[object]:
        return [
            *(
                tx.records.get(kind, *kind.key_of(record))
                for kind, record in zip(KINDS, RECORDS, strict=True)
            ),
            tx.sessions.get(new.owner, new.id),
            tx.sessions.memory(new.owner, new.id),
        ]

    async with closed_storage:
        await closed_storage.transact(write)
        found = await closed_storage.transact(read)
        [user] = [record for record in RECORDS if isinstance(record, User)]
        [family] = [record for record in RECORDS if isinstance(record, RefreshFamily)]
        caller, roles, is_signed_in = await closed_storage.find_caller(user.id, family.id)
    assert found == [*RECORDS, new, replace(memory, version=1)]
    assert caller == user
    assert not is_signed_in, "the sign-in is another user's, and has ended"
    assert {role for role in RECORDS if isinstance(role, Role)} <= {*roles.values()}


async def test_change_of_a_record_replaces_every_field(closed_storage: Storage) -> None:
    """Change every field from its default to another value and back."""

    def change(tx: Transaction) -> None:
        for kind, full in zip(KINDS, RECORDS, strict=True):
            plain = replace(
                full, **{f.name: f.default for f in fields(full) if f.default is not MISSING}
            )
            tx.records.put(kind, plain, expected=None)
            for old, new in ((plain, full), (full, plain)):
                tx.records.put(kind, new, expected=old)
                assert tx.records.get(kind, *kind.key_of(full)) == new
            for name in kind.unique:
                assert tx.records.find(kind, name, getattr(full, name)) == plain
            tx.records.remove(kind, *kind.key_of(full))
            assert tx.records.get(kind, *kind.key_of(full)) is None

    async with closed_storage:
        await closed_storage.transact(change)
