"""Records administrative changes and sign-ins in a chain that can be continued only with the key."""

import hmac
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial

from chatbot.domain.audit import (
    AUDIT,
    Action,
    AuditEvent,
    Outcome,
    Stage,
    content_of,
    digest_of,
    event_line,
    following,
)
from chatbot.domain.audit_chain import head_of
from chatbot.domain.canonical_json import Dataclass
from chatbot.domain.errors import AuditUnavailable, StorageFailure, cause_of
from chatbot.domain.identity import Principal, User
from chatbot.domain.ports.journal import JournalEntry, JournalKind
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.audit")


class Auditing:
    """Appends events to the audit, inside the transaction of the change that they record.

    Args:
        key: HMAC key of the chain and of the digests.
        announce: receives each event as a line of JSON, once it is durable.
    """

    def __init__(
        self,
        key: bytes,
        clock: Clock,
        telemetry: Telemetry = NO_TELEMETRY,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self._key, self._clock, self._telemetry = key, clock, telemetry
        self._announce = announce

    def note(
        self,
        tx: Transaction,
        principal: Principal,
        event: AuditEvent,
        *,
        journal: JournalKind = AUDIT,
    ) -> None:
        """Append an event.

        Raises:
            AuditUnavailable: it cannot be written.
        """
        self.note_all(tx, [(principal, event)], journal=journal)

    def note_all(
        self,
        tx: Transaction,
        events: Sequence[tuple[Principal, AuditEvent]],
        *,
        journal: JournalKind = AUDIT,
    ) -> None:
        """Append several events, in this order.

        Raises:
            AuditUnavailable: they cannot be written.
        """
        at = self._clock()
        contents = [content_of(event, principal) for principal, event in events]

        def chained(last: JournalEntry | None) -> Sequence[JournalEntry]:
            entries: list[JournalEntry] = []
            for content in contents:
                last = following(last, content, at=at, key=self._key, journal=journal)
                entries.append(last)
            return entries

        try:
            appended = tx.journal.extend(journal, chained)
        except StorageFailure as error:
            raise AuditUnavailable from error
        if self._announce is not None:
            lines = map(event_line, appended)
            tx.on_commit += [partial(self._announce, line) for line in lines]
        for _, event in events:
            self._telemetry.count_audit_event(event.action, event.outcome)

    def prune(self, tx: Transaction, principal: Principal, before: datetime) -> int:
        """Remove a batch of the oldest events and return its size; 0 if none are left to remove.

        The event that records the removal contains the number and the MAC of the last removed
        event, so that the rest of the chain can still be verified.
        """

        def recorded(last_pruned: JournalEntry, newest: JournalEntry) -> JournalEntry:
            event = AuditEvent(
                action=Action.AUDIT_PRUNE,
                object_type="audit",
                object_id=str(last_pruned.seq),
                before=head_of(last_pruned).mac,
            )
            content = content_of(event, principal)
            return following(newest, content, at=self._clock(), key=self._key)

        try:
            return tx.journal.prune(AUDIT, before, recorded)
        except StorageFailure as error:
            raise AuditUnavailable from error

    @contextmanager
    def recording(self, tx: Transaction, principal: Principal, event: AuditEvent) -> Iterator[None]:
        """Record a change; the block makes it.

        No change is made without its event. In an atomic transaction, both are written or neither.
        Otherwise the intent is written before the change, and the outcome after it.

        Raises:
            AuditUnavailable: the event cannot be written, and the block was not entered.
        """
        if tx.is_atomic:
            self.note(tx, principal, event)
            yield
            return
        self.note(tx, principal, replace(event, stage=Stage.INTENT))
        try:
            yield
        except BaseException:
            self._note_end(tx, principal, replace(event, outcome=Outcome.FAILED))
            raise
        self._note_end(tx, principal, event)

    def _note_end(self, tx: Transaction, principal: Principal, event: AuditEvent) -> None:
        """Append the outcome of a change, whose intent is already recorded."""
        try:
            self.note(tx, principal, replace(event, stage=Stage.DONE))
        except AuditUnavailable as error:
            logger.error("the end of a change could not be recorded: %s", cause_of(error))  # noqa: TRY400 # no traceback

    def pseudonym(self, text: str) -> str:
        """Return the pseudonym of a personal text, such as the address of a failed log-in."""
        named = f"pseudonym:{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, named, "sha256").hex()

    def user_event(
        self, action: Action, before: User | None, after: User, *, reason: str = ""
    ) -> AuditEvent:
        """Return the event of a change of a user, which contains only digests of the user."""
        return AuditEvent(
            action=action,
            object_type="user",
            object_id=after.id,
            reason=reason or None,
            before=self.digest(before, salt=after.audit_salt),
            after=self.digest(after, salt=after.audit_salt),
        )

    def digest(self, record: Dataclass | None, *, salt: str) -> str | None:
        """Return the digest of a stored object, for `before` and `after`; None if there is none."""
        return None if record is None else digest_of(asdict(record), salt=salt, key=self._key)
