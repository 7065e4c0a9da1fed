"""Reads the audit, and records who reads it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime

from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AUDIT, Action, AuditEvent, Outcome
from chatbot.domain.audit_chain import Head, head_of
from chatbot.domain.authorization import of_host, require
from chatbot.domain.identity import Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.journal import JournalEntry, JournalKind, JournalPage, JournalQuery
from chatbot.domain.ports.storage import Storage
from chatbot.domain.text import rfc3339
from chatbot.domain.transaction import Transaction

MAX_NAME_CHARS = 200
_EVENTS_AT_ONCE, _PRUNINGS_AT_ONCE = 500, 1000
_SERVICE = of_host("service")


def name_of(raw: str) -> str:
    """Return the id, account or address.

    Raises:
        ValueError: it has invisible characters, or is an e-mail address, which is never recorded.
    """
    if not raw or len(raw) > MAX_NAME_CHARS or not raw.isprintable():
        raise ValueError(f"must have 1 to {MAX_NAME_CHARS} characters, all of them visible")
    if "@" in raw:
        raise ValueError("must be an id, not an e-mail address")
    return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which events to read: those from `since` to before `until` that match all fields that are not
    None.

    `actor` is the id of a user or a client, an account of the host, or an address.
    """

    since: datetime | None = None
    until: datetime | None = None
    action: Action | None = None
    actor: str | None = None
    object: str | None = None
    outcome: Outcome | None = None

    def query(self, *, up_to: int) -> JournalQuery:
        """Return the query for these events, up to the one with this number."""
        labels = frozenset(
            (name, str(value)) for name, value in self._labels() if value is not None
        )
        return JournalQuery(labels=labels, since=self.since, until=self.until, up_to=up_to)

    def __str__(self) -> str:
        """The description of this filter in the event that records the reading."""
        moments = (("from", self.since), ("to", self.until))
        words = [f"{name}={rfc3339(at)}" for name, at in moments if at is not None]
        words += [f"{name}={value}" for name, value in self._labels() if value is not None]
        return " ".join(words) or "all events"

    def _labels(self) -> tuple[tuple[str, str | None], ...]:
        return (
            ("action", self.action),
            ("actor", self.actor),
            ("object", self.object),
            ("outcome", self.outcome),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """A page of events.

    `next_after` is the number after which the next page begins; None at the end. `up_to` is the
    last event that existed when the first page was read.
    """

    events: Sequence[JournalEntry]
    next_after: int | None
    up_to: int


class AuditTrail:
    """Reads the events for callers with the permission."""

    def __init__(self, storage: Storage, auditing: Auditing, journal: JournalKind = AUDIT) -> None:
        self._storage, self._auditing, self._journal = storage, auditing, journal

    async def page(
        self,
        principal: Principal,
        wanted: AuditFilter,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int,
    ) -> AuditPage:
        """Return the events after this number, oldest first, and record the reading.

        Each page takes bounded time, so it may be short or empty although more follow. Read later
        pages with the `up_to` of the first, so that reading all of them ends.

        Raises:
            AuditUnavailable: it cannot be recorded.
        """
        require(principal, Permission.AUDIT_READ)

        def read(tx: Transaction) -> AuditPage:
            found = self._found(tx, wanted, after=after, up_to=up_to, limit=limit)
            self._note(tx, principal, wanted, how="page")
            return found

        return await self._storage.transact(read)

    async def head(self) -> Head:
        """Return the number and the MAC of the newest event, for `verified`."""
        return head_of(await self._storage.transact(lambda tx: tx.journal.last(self._journal)))

    async def prune(self, before: datetime) -> int:
        """Remove the events from before this moment, and record it. Return their number.

        A store of files removes whole months.
        """
        count = 0
        for _ in range(_PRUNINGS_AT_ONCE):
            pruned = await self._storage.transact(
                lambda tx: self._auditing.prune(tx, _SERVICE, before)
            )
            if not pruned:
                break
            count += pruned
        return count

    async def stream(
        self, principal: Principal, wanted: AuditFilter, *, after: int = 0
    ) -> AsyncGenerator[Sequence[JournalEntry]]:
        """Return all events after this number that exist now, in batches.

        Raises:
            AuditUnavailable: the reading cannot be recorded.
        """
        require(principal, Permission.AUDIT_READ)

        def begin(tx: Transaction) -> AuditPage:
            found = self._found(tx, wanted, after=after, up_to=None, limit=_EVENTS_AT_ONCE)
            self._note(tx, principal, wanted, how="stream")
            return found

        return self._pages(wanted, await self._storage.transact(begin))

    async def _pages(
        self, wanted: AuditFilter, page: AuditPage
    ) -> AsyncGenerator[Sequence[JournalEntry]]:
        yield page.events
        while page.next_after is not None:
            after, up_to = page.next_after, page.up_to

            def read(tx: Transaction, after: int = after, up_to: int = up_to) -> AuditPage:
                return self._found(tx, wanted, after=after, up_to=up_to, limit=_EVENTS_AT_ONCE)

            page = await self._storage.transact(read)
            yield page.events

    def _found(
        self, tx: Transaction, wanted: AuditFilter, *, after: int, up_to: int | None, limit: int
    ) -> AuditPage:
        if up_to is None:
            last = tx.journal.last(self._journal)
            up_to = 0 if last is None else last.seq
        if after >= up_to:
            return AuditPage(events=(), next_after=None, up_to=up_to)
        found: JournalPage = tx.journal.find(
            self._journal, wanted.query(up_to=up_to), after=after, limit=limit
        )
        return AuditPage(events=found.entries, next_after=found.next_after, up_to=up_to)

    def _note(
        self, tx: Transaction, principal: Principal, wanted: AuditFilter, *, how: str
    ) -> None:
        reason = f"{how}: {wanted}"
        event = AuditEvent(
            action=Action.AUDIT_READ,
            object_type="audit",
            object_id=self._journal.name,
            reason=reason,
        )
        self._auditing.note(tx, principal, event)
