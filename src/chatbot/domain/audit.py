"""The audit: events in a chain of HMACs, so that none can be changed without the key.

Each entry holds the MAC of the one before (`prev`) and its own over number, time and content:
HMAC-SHA-256 (RFC 2104, FIPS 198-1) over JSON with sorted keys and without white space.
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chatbot.domain.canonical_json import canonical_json
from chatbot.domain.identity import Principal
from chatbot.domain.ports.journal import Content, JournalEntry, JournalKind, Label
from chatbot.domain.text import replace_unstorable, rfc3339, visible_line

_MAX_ID_CHARS, _MAX_REASON_CHARS = 200, 1000
FIRST = "0" * 64
"""The `prev` of the first entry."""


_FREQUENT = ("outcome", "allowed")


def _labels(content: Content) -> Iterator[Label]:
    """Yield the labels of an event: action, outcome, each name of its actor, and its object."""
    actor, subject = content.get("actor"), content.get("object")
    named: list[tuple[str, object]] = [
        ("action", content.get("action")),
        ("outcome", content.get("outcome")),
    ]
    if isinstance(actor, Mapping):
        named += [("actor", value) for value in actor.values()]
    if isinstance(subject, Mapping):
        named += [("object", subject.get("id")), ("object", subject.get("owner"))]
    return ((name, value) for name, value in named if isinstance(value, str))


def object_id_of(content: Content) -> object:
    """Return the id of what an event is about; None if it has none."""
    subject = content.get("object")
    return subject.get("id") if isinstance(subject, Mapping) else None


AUDIT = JournalKind(name="audit", labels=_labels, is_indexed=lambda label: label != _FREQUENT)
OPERATIONS = JournalKind(name="operations", labels=_labels, is_indexed=AUDIT.is_indexed)
"""The journal of operations on a whole store: a separate chain, which is not copied.

Otherwise an event in the audit of a copy would conflict with the next event of the original.
"""


class Action(StrEnum):
    """The recorded actions, as listed in docs/security.md."""

    USER_CREATE = "user.create"
    SESSION_READ = "session.read"
    """A conversation of another person was read."""
    SESSION_HOLD = "session.hold"
    SESSION_RELEASE = "session.release"
    RETENTION_RUN = "retention.run"
    """Expired conversations are deleted; the outcome counts them."""
    USER_EXPORT = "user.export"
    """All data of a person is exported, by the person or by others."""
    USER_ERASE = "user.erase"
    """A person is erased with all data about them; the outcome names the receipt."""
    SECRET_ROTATE = "secret.rotate"  # noqa: S105 # not a password
    LOGIN = "auth.login"
    LOGIN_FAILED = "auth.login_failed"
    LOGOUT = "auth.logout"
    LOGOUT_ALL = "auth.logout_all"
    REFRESH_REFUSED = "auth.refresh_refused"
    TOKEN_REUSE = "token.reuse"  # noqa: S105 # not a password
    AUDIT_READ = "audit.read"
    KEY_CREATE = "key.create"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    USER_CHANGE = "user.change"
    USER_DISABLE = "user.disable"
    USER_ENABLE = "user.enable"
    USER_PASSWORD = "user.password"  # noqa: S105 # a name
    """An administrator has set a password, or issued a one-time password."""
    USER_LOGOUT = "user.logout"
    """An administrator has ended all sign-ins of a user."""
    PASSWORD_CHANGE = "password.change"  # noqa: S105 # a name
    """A user has changed their own password."""
    ROLE_SET = "role.set"
    ROLE_DELETE = "role.delete"
    LIMIT_SET = "limit.set"
    LIMIT_DELETE = "limit.delete"
    DOCUMENT_UPLOAD = "document.upload"
    """A document, or a new version of one."""
    DOCUMENT_ACCESS = "document.access"
    """The access rule of a document is changed; the reason contains the new one."""
    DOCUMENT_READ = "document.read"
    """The file of a document is read by a caller who may only because they manage documents."""
    DOCUMENT_DELETE = "document.delete"
    KEY_NEW_ADDRESS = "key.new_address"
    """A key is used from an address that is new for it."""
    ACCESS_REFUSE = "access.refuse"
    """A call or a command was refused: wrong credentials, or rights that the caller lacks."""
    STORE_BACKUP = "store.backup"
    STORE_IMPORT = "store.import"
    STORE_MIGRATE = "store.migrate"
    """Recorded in the target; the source is only read."""
    STORE_RESTORE = "store.restore"
    STORE_UPGRADE = "store.upgrade"
    AUDIT_PRUNE = "audit.prune"
    """Events are about to be pruned, up to the one with this number. `before` is its MAC."""


class Outcome(StrEnum):
    """The outcome of an action."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    FAILED = "failed"


class Stage(StrEnum):
    """Which half of a change an event records, in a store without atomic transactions."""

    INTENT = "intent"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """An audit event. It contains no prompts, answers, secrets or e-mail addresses.

    `before` and `after` are digests of the object. `owner` is the id of the person to whom it belongs.
    """

    action: Action
    object_type: str
    object_id: str
    owner: str | None = None
    outcome: Outcome = Outcome.ALLOWED
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    stage: Stage | None = None


def content_of(event: AuditEvent, principal: Principal) -> Content:
    """Return the content of an event that this caller has caused, without the chain."""
    source, user = principal.source, principal.user
    object_id, reason = _clean(event.object_id, _MAX_ID_CHARS), event.reason
    actor = {
        "user": None if user is None else user.id,
        "client": principal.client.id or None,
        "cli_user": source.cli_user or None,
        "address": source.address or None,
    }
    found = {
        "action": event.action,
        "outcome": event.outcome,
        "actor": {name: value for name, value in actor.items() if value is not None},
        "object": {"type": event.object_type, "id": object_id, **_owned(event)},
        "request_id": source.request_id or None,
        "reason": None if reason is None else _clean(reason, _MAX_REASON_CHARS),
        "before": event.before,
        "after": event.after,
        "stage": event.stage,
    }
    return {name: value for name, value in found.items() if value is not None}


def _owned(event: AuditEvent) -> Mapping[str, str]:
    return {} if event.owner is None else {"owner": _clean(event.owner, _MAX_ID_CHARS)}


def granted(before: Iterable[str], after: Iterable[str]) -> str:
    """Return what a change grants and revokes, as in `given: admin; taken: employee`, or nothing."""
    old, new = set(before), set(after)
    parts = [("given", new - old), ("taken", old - new)]
    return "; ".join(f"{verb}: {', '.join(sorted(names))}" for verb, names in parts if names)


def _clean(text: str, max_chars: int) -> str:
    """Return the text in a form that is safe to show: visible, storable and not too long."""
    shown = visible_line(replace_unstorable(text))
    return shown if len(shown) <= max_chars else f"{shown[: max_chars - 1]}\u2026"


def following(
    last: JournalEntry | None,
    content: Content,
    *,
    at: datetime,
    key: bytes,
    journal: JournalKind = AUDIT,
) -> JournalEntry:
    """Return the entry with this content that comes after `last` in the chain."""
    seq, prev = (1, FIRST) if last is None else (last.seq + 1, last.content.get("mac"))
    chained = {**content, "prev": prev}
    sealed = {**chained, "mac": mac_of(chained, seq, at, key=key)}
    return JournalEntry(journal=journal.name, seq=seq, at=at, content=sealed)


def mac_of(content: Content, seq: int, at: datetime, *, key: bytes) -> str:
    """Return the MAC of an entry, in hexadecimal digits; `content` may have one, which is ignored."""
    before, behind = signed_text(content, at)
    return hmac.digest(key, b"%b%d%b" % (before, seq, behind), "sha256").hex()


def signed_text(content: Content, at: datetime) -> tuple[bytes, bytes]:
    """Return the signed parts of an entry: the text before its number, and the text after it."""
    signed = {name: value for name, value in content.items() if name != "mac"}
    text = canonical_json({"at": rfc3339(at), "content": signed})
    return f'{text[:-1]},"seq":'.encode(), b"}"


def event_object(entry: JournalEntry) -> dict[str, object]:
    """Return an event in its display form: number and time first, then its content."""
    return {"seq": entry.seq, "at": rfc3339(entry.at), **entry.content}


def event_line(entry: JournalEntry) -> str:
    """Return an event as one line of JSON in ASCII, so that nothing in it can affect a terminal."""
    return json.dumps(event_object(entry), separators=(",", ":"))


def digest_of(record: Mapping[str, object], *, salt: str, key: bytes) -> str:
    """Return the digest of an object, which only reveals whether two states are equal.

    Without the salt, which is erased with its person, values cannot be guessed.
    """
    text = canonical_json({"salt": salt, "record": record})
    return hmac.digest(key, text.encode(), "sha256").hex()
