"""Sample data for stores: conversations and users; and snapshots of a folder."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRole,
    Session,
    SessionId,
    TurnId,
    title_of,
)
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.memory import Memory, MemoryItem, Origin, Setback, StructuredMemory
from chatbot.domain.permissions import DEFAULT_ROLES, Permission, Role
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import (
    Change,
    Conversation,
    ExportTarget,
    Item,
    StoreExport,
    Unreadable,
)
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.transaction import JOURNALS

T0 = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
ODD_OWNER = Owner(kind="user", id="Zoë/../%41:b")
CLIENT = Owner(kind="client", id="default")
ODD_TEXTS = [
    "",
    " ",
    'quotes " and \\ backslashes',
    "lines\nand\r\nmore\ttabs",
    "separators \u2028 \u2029 \x85 \x1c",
    "ñandú, 日本語, عربى, e\u0301",
    "👩‍👩‍👧 \U0010ffff",
    '","crc32":"00000000"}',
    "long " * 9000,
]


def conversation(
    number: int = 1,
    *,
    owner: Owner = ANA,
    texts: list[str] | None = None,
    reset_at: int = 0,
    epoch: int = 0,
    memory: Memory | None = None,
) -> Conversation:
    """A conversation whose texts alternate between user and assistant."""
    messages = tuple(
        _message(seq, text)
        for seq, text in enumerate(["Hi", "Hello!"] if texts is None else texts, reset_at + 1)
    )
    session = Session(
        id=SessionId(f"{number:032x}"),
        owner=owner,
        title=title_of(messages),
        created_at=T0,
        updated_at=messages[-1].ts if messages else T0,
        message_count=len(messages),
        last_seq=reset_at + len(messages),
        epoch=epoch,
    )
    return Conversation(session=session, messages=messages, memory=memory or Memory())


def _message(seq: int, text: str) -> Message:
    by_user = seq % 2 == 1
    return Message(
        seq=seq,
        role=MessageRole.USER if by_user else MessageRole.ASSISTANT,
        content=text,
        ts=T0 + timedelta(seconds=seq),
        turn_id=TurnId(f"{(seq + 1) // 2:032x}"),
        reason=None if by_user or text else InterruptReason.CRASH,
    )


def remembered(text: str = "Ana's ñ 👩‍👩‍👧 \u2028", *, version: int = 1) -> Memory:
    item = MemoryItem(value=text, origin=Origin.USER, sources=(1,))
    structured = StructuredMemory(profile={"role": item, "name": item}, facts=(item,))
    return Memory(
        summary=text,
        structured=structured,
        summarized_to=1,
        version=version,
        refused=(1,),
        prompts_after=1,
        summary_setback=Setback(failures=2, retry_at=9),
    )


def user(
    number: int = 1, *, email: str | None = None, roles: tuple[str, ...] = ("employee",)
) -> User:
    return User(
        id=UserId(f"{number:032x}"),
        email=email or f"user{number}@example.com",
        password_hash="$argon2id$old",
        roles=roles,
        department="R&D ñ",
        created_at=T0,
    )


def entry(number: int, texts: Iterable[str] = ("signed in",)) -> JournalEntry:
    content = {"number": number, "texts": list(texts), "before": None, "nested": {"ok": True}}
    return JournalEntry(journal=JOURNALS[0].name, seq=number, at=T0, content=content)


REVIEWER = Role(name="reviewer", permissions=frozenset({Permission.CHAT}))
EVERYTHING: list[Item] = [
    *sorted([*DEFAULT_ROLES.values(), REVIEWER], key=lambda role: role.name),
    user(1),
    replace(user(2), is_active=False, token_version=3),
    Blob(name="documents/a/1/content", data=bytes(range(256)) * 5000),
    Blob(name="documents/b/1/content", data=b""),
    conversation(1, owner=CLIENT, texts=[]),
    conversation(1, texts=ODD_TEXTS, memory=remembered()),
    conversation(2, texts=["After the reset"], reset_at=4, epoch=2, memory=remembered(version=7)),
    conversation(3, owner=ODD_OWNER),
    entry(1),
    entry(2, ODD_TEXTS),
]
"""One item of each kind."""


def fill(export: ExportTarget, items: list[Item] = EVERYTHING) -> None:
    for item in items:
        export.put([Change(item, export.find(item))])


def everything_in(export: StoreExport) -> list[Item]:
    """The items; an unreadable item fails the test."""
    found = list(export.items())
    assert not [item for item in found if isinstance(item, Unreadable)]
    return found


def trace_of(folder: Path) -> str:
    """A digest of the names, times and contents of everything in a folder."""
    found = hashlib.sha256()
    for path in sorted([folder, *folder.rglob("*")]):
        content = path.read_bytes() if path.is_file() else b""
        time = path.stat().st_mtime_ns if path.is_file() else 0
        found.update(f"{path} {time} {len(content)}\n".encode() + content)
    return found.hexdigest()


def new_message(
    lease: Lease,
    role: MessageRole,
    content: str,
    *,
    ts: datetime,
    reason: InterruptReason | None = None,
    turn_id: TurnId | None = None,
) -> Message:
    """A message to append under the lease."""
    return Message(
        role=role, content=content, ts=ts, turn_id=turn_id or lease.turn_id, reason=reason
    )
