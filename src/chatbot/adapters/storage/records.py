"""How sessions, messages, memory, users, roles and attempts to log in look in JSON."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from chatbot.adapters.storage.fields import VERSION, Damaged, Fields, Json
from chatbot.domain.chat import (
    InterruptReason,
    Message,
    MessageRole,
    Session,
    SessionId,
    TurnId,
    is_session_id,
)
from chatbot.domain.errors import InvalidInput
from chatbot.domain.identity import (
    MAX_TOKEN_VERSION,
    Owner,
    Permission,
    Role,
    User,
    UserId,
    normalise_email,
)
from chatbot.domain.memory import Memory, MemoryItem, Origin, Setback, StructuredMemory
from chatbot.domain.text import is_storable, rfc3339
from chatbot.domain.throttling import AttemptKey

MAX_ID_CHARS = 64

Times = tuple[datetime, ...]
Made = Mapping[AttemptKey, Times]

_LONG_AGO = datetime.fromtimestamp(0, UTC)


def session_to_json(session: Session) -> Json:
    return {
        "id": session.id,
        "owner": {"kind": session.owner.kind, "id": session.owner.id},
        "title": session.title,
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
        "message_count": session.message_count,
        "last_seq": session.last_seq,
        "epoch": session.epoch,
    }


def session_from_json(found: object, what: str) -> Session:
    fields = Fields(found, what)
    owner = Fields(fields.object("owner"), what)
    kind = owner.text("kind")
    if kind not in {"user", "client"} or not is_session_id(fields.text("id")):
        raise fields.wrong("id or owner", "one of a session")
    return Session(
        id=SessionId(fields.text("id")),
        owner=Owner(kind="user" if kind == "user" else "client", id=owner.text("id")),
        title=fields.text("title"),
        created_at=fields.moment("created_at"),
        updated_at=fields.moment("updated_at"),
        message_count=fields.number("message_count"),
        last_seq=fields.number("last_seq"),
        epoch=fields.number("epoch"),
    )


def message_to_json(message: Message) -> Json:
    found: Json = {
        "seq": message.seq,
        "role": message.role.value,
        "content": message.content,
        "ts": rfc3339(message.ts),
        "turn_id": message.turn_id,
    }
    return found if message.reason is None else {**found, "reason": message.reason.value}


def message_from_json(found: object, what: str) -> Message:
    fields = Fields(found, what)
    return Message(
        seq=fields.number("seq"),
        role=fields.choice("role", MessageRole),
        content=fields.text("content"),
        ts=fields.moment("ts"),
        turn_id=TurnId(fields.text("turn_id")),
        reason=fields.choice("reason", InterruptReason) if fields.has("reason") else None,
    )


def memory_to_json(memory: Memory) -> Json:
    """The memory; marks of what a provider refuses, and setbacks, only where there are any."""
    known = memory.structured
    found: Json = {
        "summary": memory.summary,
        "profile": {key: _item_to_json(item) for key, item in known.profile.items()},
        "preferences": {key: _item_to_json(item) for key, item in known.preferences.items()},
        "facts": [_item_to_json(item) for item in known.facts],
        "todos": [_item_to_json(item) for item in known.todos],
        "summarized_to": memory.summarized_to,
        "extracted_to": memory.extracted_to,
        "version": memory.version,
    }
    marks: Json = {
        "refused": list(memory.refused),
        "prompts_after": memory.prompts_after,
        "summary_setback": _setback_to_json(memory.summary_setback),
        "extraction_setback": _setback_to_json(memory.extraction_setback),
    }
    return found | {name: mark for name, mark in marks.items() if mark}


def memory_from_json(found: object, what: str) -> Memory:
    fields = Fields(found, what)
    return Memory(
        summary=fields.text("summary"),
        structured=StructuredMemory(
            profile=_keyed_items(fields.object("profile"), what),
            preferences=_keyed_items(fields.object("preferences"), what),
            facts=tuple(_item_from_json(item, what) for item in fields.list("facts")),
            todos=tuple(_item_from_json(item, what) for item in fields.list("todos")),
        ),
        summarized_to=fields.number("summarized_to"),
        extracted_to=fields.number("extracted_to"),
        version=fields.number("version"),
        refused=_numbers(fields, "refused"),
        prompts_after=fields.number("prompts_after", 0),
        summary_setback=_setback_from_json(fields, "summary_setback"),
        extraction_setback=_setback_from_json(fields, "extraction_setback"),
    )


def _setback_to_json(setback: Setback) -> Json | None:
    if setback == Setback():
        return None
    return {"failures": setback.failures, "retry_at": setback.retry_at}


def _setback_from_json(fields: Fields, key: str) -> Setback:
    if not fields.has(key):
        return Setback()
    found = Fields(fields.object(key), key)
    return Setback(failures=found.number("failures"), retry_at=found.number("retry_at"))


def _item_to_json(item: MemoryItem) -> Json:
    return {"value": item.value, "set_by": item.origin.value, "sources": list(item.sources)}


def _item_from_json(found: object, what: str) -> MemoryItem:
    fields = Fields(found, what)
    sources = _numbers(fields, "sources")
    return MemoryItem(
        value=fields.text("value"), origin=fields.choice("set_by", Origin), sources=sources
    )


def _numbers(fields: Fields, key: str) -> tuple[int, ...]:
    """A list of numbers; none if there is no such key."""
    found = fields.list(key, [])
    numbers = tuple(n for n in found if isinstance(n, int) and not isinstance(n, bool))
    if len(numbers) != len(found):
        raise fields.wrong(key, "a list of whole numbers")
    return numbers


def _keyed_items(found: Json, what: str) -> dict[str, MemoryItem]:
    return {key: _item_from_json(item, what) for key, item in found.items()}


def user_to_json(user: User) -> Json:
    return {
        "id": user.id,
        "email": user.email,
        "password_hash": user.password_hash,
        "roles": list(user.roles),
        "department": user.department,
        "is_active": user.is_active,
        "created_at": rfc3339(user.created_at),
        "token_version": user.token_version,
    }


def user_from_json(found: object, what: str) -> User:
    """Read a user. Files of the first MVP lack some keys and may count their users: `"id": 7`."""
    fields = Fields(found, what)
    return User(
        id=_user_id(fields),
        email=_email(fields),
        password_hash=fields.text("password_hash"),
        roles=_texts(fields, "roles"),
        department=fields.text("department", ""),
        created_at=fields.moment("created_at") if fields.has("created_at") else _LONG_AGO,
        is_active=fields.truth("is_active", default=True),
        token_version=fields.number("token_version", 0, most=MAX_TOKEN_VERSION),
    )


def _user_id(fields: Fields) -> UserId:
    try:
        raw = fields.text("id")
    except Damaged:
        raw = str(fields.number("id"))
    if not 0 < len(raw) <= MAX_ID_CHARS or not raw.isprintable():
        raise fields.wrong("id", f"a text of 1 to {MAX_ID_CHARS} printable characters")
    return UserId(raw)


def _email(fields: Fields) -> str:
    try:
        return normalise_email(fields.text("email"))
    except InvalidInput as error:
        raise fields.wrong("email", "an e-mail address") from error


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    found = fields.list(key, [])
    texts = tuple(text for text in found if isinstance(text, str) and is_storable(text))
    if len(texts) != len(found):
        raise fields.wrong(key, "a list of texts")
    return texts


def roles_to_json(roles: Mapping[str, Role]) -> Json:
    named = {
        name: {"permissions": sorted(permission.value for permission in role.permissions)}
        for name, role in roles.items()
    }
    return {"version": VERSION, "roles": named}


def roles_from_json(found: object, what: str) -> dict[str, Role]:
    document = Fields(found, what)
    document.require_version()
    roles = {}
    for name, entry in document.object("roles").items():
        granted = _texts(Fields(entry, f"{what}, role {name}"), "permissions")
        roles[name] = Role(name=name, permissions=permissions_of(granted))
    return roles


def permissions_of(words: Iterable[str]) -> frozenset[Permission]:
    """Unknown permissions grant nothing: a newer version may know them."""
    return frozenset(map(Permission, set(Permission).intersection(words)))


def attempts_to_json(made: Made) -> Json:
    found: Json = {key: [rfc3339(at) for at in times] for key, times in made.items()}
    return {"version": VERSION, "attempts": found}


def attempts_from_json(found: object, what: str) -> dict[AttemptKey, Times]:
    document = Fields(found, what)
    document.require_version()
    made = document.object("attempts")
    return {AttemptKey(key): _moments(Fields(made, what), key) for key in made}


def _moments(fields: Fields, key: str) -> Times:
    return tuple(Fields({"at": at}, key).moment("at") for at in fields.list(key))
