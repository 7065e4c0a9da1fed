"""The parameters of the statements of a turn, and the parsing of their rows."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

from chatbot.adapters.search.records import record_of
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import JsonObject
from chatbot.adapters.storage.sql.rows import (
    decoded_record,
    details_values,
    memory_of,
    owner_key,
    with_rest,
)
from chatbot.adapters.storage.sql.session_statements import NO_LEASE_S
from chatbot.adapters.storage.sql.turn_statements import TurnRow, TurnValues
from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.identity import Owner, User
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import Role
from chatbot.domain.ports.storage import StoredCaller
from chatbot.domain.repositories.users import USERS
from chatbot.domain.search import messages_scope, passages_of

_SHORT_CHARS = 8000
"""The maximum text size that is analysed for the index on the event loop: a millisecond."""
_TRUE = (1, "t")
"""How SQLite and Postgres say it."""


async def analysed(text: str, prepare: Callable[[], TurnValues]) -> TurnValues:
    """The values of a message with this text; those of a long one are prepared in a thread."""
    return prepare() if len(text) <= _SHORT_CHARS else await asyncio.to_thread(prepare)


def question_values(question: Question, *, replica: str, lease_s: float) -> TurnValues:
    """The values of `STORE_QUESTION`."""
    (asked,) = question.messages_after([])
    return {
        **_message_values(question.lease, asked),
        "replica": replica,
        "lease_s": lease_s,
        "no_lease_s": NO_LEASE_S,
        "title": asked.title or None,
        "step": question.summarized_step,
        "limit": question.history_limit - 1,
    }


def answer_values(lease: Lease, answer: Message) -> TurnValues:
    """The values of `STORE_ANSWER`."""
    reason = None if answer.reason is None else answer.reason.value
    details = None if answer.details is None else json.dumps(details_values(answer))
    return {**_message_values(lease, answer), "reason": reason, "details": details}


def memory_values(owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int) -> TurnValues:
    """The values of `STORE_MEMORY`."""
    content = codec(Memory).to_json(memory) | {"version": memory.version + 1}
    return {
        "owner": owner_key(owner),
        "session_id": session_id,
        "epoch": epoch,
        "version": memory.version,
        "content": json.dumps(content),
    }


def _message_values(lease: Lease, message: Message) -> dict[str, str | int | float | bytes | None]:
    passages = passages_of([message])
    utc = message.ts.astimezone(UTC).replace(tzinfo=None)
    return {
        "owner": owner_key(lease.owner),
        "session_id": lease.session_id,
        "turn_id": lease.turn_id,
        "text": message.content,
        "ts": utc.isoformat(" ", "microseconds"),  # as SQLAlchemy stores it in SQLite
        "scope": messages_scope(lease.owner),
        "record": record_of(passages[0]) if passages else None,
    }


def context_of(question: Question, row: TurnRow) -> TurnContext:
    """Read the row of `STORE_QUESTION`.

    Raises:
        Damaged, ValueError: the stored data is invalid.
    """
    seq, count, epoch, title, created_at, rest, memory, history = row
    (asked,) = question.messages_after([])
    earlier = sorted(json.loads(history)) if history else []
    session = Session(
        id=question.session_id,
        owner=question.owner,
        title=title or "",
        created_at=_moment(created_at),
        updated_at=question.ts,
        message_count=int(count),
        last_seq=int(seq),
        epoch=int(epoch),
    )
    return TurnContext(
        lease=question.lease,
        session=with_rest(session, json.loads(rest) if rest else None),
        memory=memory_of(json.loads(memory) if memory else None),
        history=(*map(_message, earlier), replace(asked, seq=int(seq))),
    )


def _message(row: TurnRow) -> Message:
    seq, role, content, ts, turn_id, reason = row
    return Message(
        seq=seq,
        role=MessageRole(role),
        content=content,
        ts=_moment(ts),
        turn_id=TurnId(turn_id),
        reason=None if reason is None else InterruptReason(reason),
    )


def _moment(utc: str) -> datetime:
    return datetime.fromisoformat(utc).replace(tzinfo=UTC)


def caller_of(row: TurnRow) -> StoredCaller:
    """Read the row of `FIND_CALLER`."""
    user_id, email, record, roles, is_signed_in = row
    user = None if record is None else decoded_record(USERS, record, user_id, email)
    return StoredCaller(cast("User | None", user), _roles(roles or "{}"), is_signed_in in _TRUE)


@lru_cache(maxsize=4)
def _roles(found: str) -> Mapping[str, Role]:
    named = json.loads(found)
    return {
        name: codec(Role).from_json({**JsonObject(each, "role").found, "name": name}, "role")
        for name, each in named.items()
    }
