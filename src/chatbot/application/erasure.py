"""Erases a person and all data about them, and issues a receipt.

The person is disabled first, which ends running turns within seconds; then their sessions, the
documents that no one else may read, their counters and their records are removed, and the user
last.
An interrupted erasure is finished by the next call or by `sweep`. The record of the erasure is kept
for a day, so that `sweep` also removes data stored by requests that were accepted just before.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

from chatbot.application import document_index
from chatbot.application.auditing import Auditing
from chatbot.application.leases import retry_while_busy
from chatbot.domain.audit import Action, AuditEvent, Outcome, Stage
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import Session, SessionCursor, TurnId
from chatbot.domain.erasure import Erasure, Receipt, receipt_of
from chatbot.domain.errors import ChatbotError, SessionBusy, SessionHeld, cause_of
from chatbot.domain.identity import Owner, Principal, User, UserId, next_token_version
from chatbot.domain.memory import Memory
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.users import USERS
from chatbot.domain.transaction import KINDS, Transaction
from chatbot.domain.usage import part_of

logger = logging.getLogger("chatbot.erasure")

KEPT = timedelta(days=1)
_AT_ONCE = 20
"""Sessions per transaction, so that others do not wait long for it."""
_PAGE = 500
_WAITS = 3
"""A turn of the person ends within 5 s, and `retry_while_busy` waits as long."""

Allowed = Callable[[Transaction], User]
"""Returns the person, if the caller may erase them; the users are locked."""
EraseCounters = Callable[[str], Awaitable[Mapping[str, int]]]


class Erasures:
    """Erases people.

    Args:
        key: signs receipts.
        forget: drops texts that this process keeps in memory.
        erase_limits: removes the person's counters outside of the store, if there are any.
    """

    def __init__(
        self,
        storage: Storage,
        auditing: Auditing,
        *,
        key: bytes,
        clock: Clock,
        new_id: NewId,
        forget: Callable[[], None],
        erase_limits: EraseCounters | None = None,
    ) -> None:
        self._storage, self._auditing = storage, auditing
        self._key, self._clock, self._new_id = key, clock, new_id
        self._forget, self._erase_limits = forget, erase_limits

    async def erase(self, principal: Principal, allowed: Allowed) -> Receipt:
        """Erase the person whom `allowed` returns. A second call finishes an interrupted erasure.

        Raises:
            SessionHeld: sessions of the person are on hold; the message says how many.
            SessionBusy: a turn of the person did not end in time; call again.
            AuditUnavailable: it cannot be recorded.
            What `allowed` raises: nothing was changed.
        """
        user_id = await self._require_no_holds(allowed)
        await self._storage.transact(partial(self._begin, principal, allowed))
        await self._remove_sessions(user_id)
        await self._remove_documents(user_id)
        more = await self._erased_limits(user_id)
        receipt = await self._storage.transact(partial(self._finish, principal, user_id, more))
        self._forget()
        return receipt

    async def sweep(self) -> int:
        """Finish interrupted erasures, and remove data that was stored late. Returns their number."""
        now = self._clock()
        pending = await self._storage.transact(lambda tx: tx.erasures.all())
        for erasure in pending:
            try:
                await self._swept(erasure)
            except ChatbotError as error:
                logger.warning("an erasure could not be finished: %s", cause_of(error))
        await self._storage.transact(lambda tx: tx.erasures.drop_expired(now))
        if pending:
            self._forget()
        return len(pending)

    async def _swept(self, erasure: Erasure) -> None:
        user_id = erasure.user_id
        await self._remove_sessions(user_id)
        await self._remove_documents(user_id)
        more = await self._erased_limits(user_id)
        principal = of_host("service")
        if erasure.expires_at is None:
            await self._storage.transact(partial(self._finish, principal, user_id, more))
        else:
            await self._storage.transact(partial(_remove_rest, user_id=user_id))

    async def _erased_limits(self, user_id: UserId) -> Counter[str]:
        erased = await self._erase_limits(part_of(user_id)) if self._erase_limits else {}
        return Counter(counters=sum(erased.values()))

    async def _require_no_holds(self, allowed: Allowed) -> UserId:
        def checked(tx: Transaction) -> tuple[UserId, int]:
            tx.records.exclusive(USERS)
            user = allowed(tx)
            return user.id, sum(each.hold is not None for each in _sessions_of(tx, user.id))

        user_id, held = await self._storage.transact(checked)
        if held:
            raise SessionHeld(
                f"Sessions of this user are on hold ({held}): they must be released first."
            )
        return user_id

    def _begin(self, principal: Principal, allowed: Allowed, tx: Transaction) -> None:
        """Disable the person, and note that the erasure has begun."""
        tx.records.exclusive(USERS)
        user = allowed(tx)
        self._note(tx, principal, user.id, stage=Stage.INTENT)
        if tx.erasures.of(user.id) is None:
            receipt_id, now = self._new_id(), self._clock()
            tx.erasures.put(Erasure(user_id=user.id, receipt_id=receipt_id, begun_at=now))
        if user.is_active:
            version = next_token_version(user.token_version)
            disabled = replace(user, is_active=False, token_version=version)
            tx.records.put(USERS, disabled, expected=user)

    async def _remove_sessions(self, user_id: UserId) -> None:
        while await self._remove_some(user_id):
            pass

    async def _remove_documents(self, user_id: UserId) -> None:
        while await self._storage.transact(partial(_documents_removed, user_id)):
            pass

    async def _remove_some(self, user_id: UserId) -> int:
        attempt = partial(self._storage.transact, partial(self._removed, user_id))
        for waited in range(1, _WAITS + 1):
            try:
                return await retry_while_busy(attempt)
            except SessionBusy:
                if waited == _WAITS:
                    raise
        raise AssertionError("The loop returns or raises.")

    def _removed(self, user_id: UserId, tx: Transaction) -> int:
        owner, turn_id, counts = _owner(user_id), TurnId(self._new_id()), Counter[str]()
        for session in tx.sessions.page(owner, limit=_AT_ONCE):
            with tx.sessions.held(owner, session.id, turn_id) as lease:
                counts += _counts_of(tx, session)
                tx.sessions.delete(lease)
        _count(tx, user_id, counts)
        return counts["sessions"]

    def _finish(
        self, principal: Principal, user_id: UserId, counts: Counter[str], tx: Transaction
    ) -> Receipt:
        """Remove the remaining data, record the end, and remove the user last."""
        tx.records.exclusive(USERS)
        counts = counts + _remove_rest(tx, user_id=user_id)
        now = self._clock()
        counts["users"] += 1
        erasure = _count(tx, user_id, counts)
        receipt = receipt_of(erasure, at=now, key=self._key)
        self._note(tx, principal, user_id, stage=Stage.DONE, receipt_id=receipt.receipt_id)
        tx.users.remove(user_id)
        tx.erasures.put(replace(erasure, expires_at=now + KEPT))
        return receipt

    def _note(
        self,
        tx: Transaction,
        principal: Principal,
        user_id: UserId,
        *,
        stage: Stage,
        receipt_id: str | None = None,
    ) -> None:
        event = AuditEvent(
            action=Action.USER_ERASE,
            object_type="user",
            object_id=user_id,
            outcome=Outcome.ALLOWED,
            reason=None if receipt_id is None else f"receipt {receipt_id}",
            stage=stage,
        )
        self._auditing.note(tx, principal, event)


def _owner(user_id: UserId) -> Owner:
    return Owner(kind="user", id=user_id)


def _sessions_of(tx: Transaction, user_id: UserId) -> list[Session]:
    found: list[Session] = []
    page = tx.sessions.page(_owner(user_id), limit=_PAGE)
    while page:
        found += page
        after = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)
        page = tx.sessions.page(_owner(user_id), limit=_PAGE, after=after)
    return found


def _counts_of(tx: Transaction, session: Session) -> Counter[str]:
    memory = tx.sessions.memory(session.owner, session.id)
    return Counter(
        {"sessions": 1, "messages": session.message_count, "memories": int(memory != Memory())}
    )


def _documents_removed(user_id: UserId, tx: Transaction) -> int:
    """Remove a batch of the documents that only the person may read, and the person from others."""
    counts = document_index.erase_person(tx, user_id, at_most=_AT_ONCE)
    if counts:
        _count(tx, user_id, counts)
    return counts.total()


def _count(tx: Transaction, user_id: UserId, counts: Mapping[str, int]) -> Erasure:
    erasure = tx.erasures.of(user_id)
    if erasure is None:
        raise AssertionError("An erasure that has begun is stored.")
    return tx.erasures.put(erasure.counting(counts))


def _remove_rest(tx: Transaction, *, user_id: UserId) -> Counter[str]:
    """Remove all data about the person except sessions and the user."""
    tx.sessions.clear(_owner(user_id))
    counters = sum(tx.counters.erase(part_of(user_id)).values())
    others = [kind for kind in KINDS if kind is not USERS]
    return Counter(counters=counters) + Counter(tx.erasures.remove_records(user_id, others))
