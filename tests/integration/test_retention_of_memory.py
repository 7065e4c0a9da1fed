"""What expires with a conversation, and what stays: quotes go, items and documents stay, holds keep all."""

from datetime import timedelta

from chatbot.application.auditing import Auditing
from chatbot.application.retention import Retention
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import NewItem
from chatbot.domain.person_memory import ItemKind, ItemOrigin, PersonMemory, Source
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import Hold
from chatbot.domain.transaction import Transaction
from conversation import fresh_ids
from samples import T0
from stored_documents import put_document

ANA = Owner(kind="user", id="a" * 32)
OLD, HELD, LONG = (SessionId(f"{number:032x}") for number in (1, 2, 3))
DAY = timedelta(days=1)
NOW = T0 + 100 * DAY
IDS = fresh_ids()


def plant(tx: Transaction) -> None:
    """Three sessions that have taught something, one on hold, one with old and new messages."""
    put_document(tx, "Rules", ["Everybody has 23 days."], uploader=ANA)
    add(tx, OLD, 60)
    add(tx, HELD, 60, hold=Hold(reason="A court asked for it.", at=T0))
    add(tx, LONG, 60, 1)
    for text, source in (
        ("likes tea", (OLD, 1)),
        ("likes rum", (HELD, 1)),
        ("likes old wine", (LONG, 1)),
        ("likes new wine", (LONG, 3)),
    ):
        tx.person_memories.change(ANA, lambda known: learned(known, text, *source))  # noqa: B023 # called at once


def learned(known: PersonMemory, text: str, session_id: SessionId, seq: int) -> PersonMemory:
    source = Source(session_id=session_id, seq=seq, quote=f"I said: {text}")
    new = NewItem(kind=ItemKind.FACT, text=text, origin=ItemOrigin.SAID, sources=(source,))
    return added(known, new, now=T0, new_id=IDS)


def add(tx: Transaction, session_id: SessionId, *days_ago: int, hold: Hold | None = None) -> None:
    at = NOW - days_ago[0] * DAY
    new = Session(id=session_id, owner=ANA, created_at=at, updated_at=at, hold=hold)
    tx.sessions.create(new)
    with tx.sessions.held(ANA, session_id, TurnId("t" * 32)) as lease:
        for days in days_ago:
            for role in MessageRole:
                said = Message(
                    role=role, content="x", ts=NOW - days * DAY, turn_id=TurnId("t" * 32)
                )
                tx.sessions.append(lease, said)


async def test_quotes_expire_with_their_messages_while_items_and_documents_stay(
    closed_storage: Storage,
) -> None:
    async with closed_storage as storage:
        await storage.transact(plant)
        retention = Retention(
            storage,
            Auditing(b"k" * 32, clock=lambda: NOW),
            sessions_days=30,
            messages_days=30,
            rules=lambda _: [],
            clock=lambda: NOW,
            new_id=IDS,
        )
        await retention.run(of_host("root"), is_asked_for=True, trusts_clock=True)
        person = await storage.transact(lambda tx: tx.person_memories.of(ANA))
        sessions = await storage.transact(lambda tx: tx.sessions.page(ANA, limit=9))
        documents = await storage.transact(lambda tx: tx.documents.all())
    assert {each.id: each.message_count for each in sessions} == {HELD: 2, LONG: 2}
    assert {item.text: item.sources[0].quote for item in person.active} == {
        "likes tea": "",
        "likes rum": "I said: likes rum",
        "likes old wine": "",
        "likes new wine": "I said: likes new wine",
    }
    assert [each.title for each in documents] == ["Rules"]
