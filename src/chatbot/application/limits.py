"""The limits that administrators set."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from chatbot.application.auditing import Auditing
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.authorization import require
from chatbot.domain.errors import InvalidInput, NotFound
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal, UserId
from chatbot.domain.limits import MAX_LIMIT, MAX_NAME_CHARS, Limit, Subject, checked_id
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.storage import Storage
from chatbot.domain.text import is_storable
from chatbot.domain.transaction import Transaction

_UNKNOWN = "The limit does not exist."


class LimitEditor:
    """Reads and changes limits. Methods raise `Forbidden` without the permission.

    Args:
        changed: called after a change, so that this process applies it immediately.
    """

    def __init__(
        self, storage: Storage, auditing: Auditing, *, changed: Callable[[], None]
    ) -> None:
        self._storage, self._auditing, self._changed = storage, auditing, changed

    async def all(self, principal: Principal) -> Sequence[Limit]:
        """Return the limits, sorted by id."""
        require(principal, Permission.LIMITS_MANAGE)
        return await self._storage.transact(lambda tx: tx.limits.all())

    async def read(self, principal: Principal, limit_id: str) -> Limit:
        """Return a limit.

        Raises:
            NotFound: no such limit.
        """
        require(principal, Permission.LIMITS_MANAGE)
        found = await self._storage.transact(lambda tx: tx.limits.get(limit_id))
        if found is None:
            raise NotFound(_UNKNOWN)
        return found

    async def put(
        self, principal: Principal, limit: Limit, *, expected: Expected = ANYTHING
    ) -> tuple[Limit, bool]:
        """Store a limit. Return the stored limit, and whether it is new.

        A person may be named by e-mail address.

        Raises:
            InvalidInput: its fields do not fit together, or the user or role does not exist.
            Conflict: another limit already covers this.
            ChangedMeanwhile: the stored limit is not the expected one.
        """
        require(principal, Permission.LIMITS_MANAGE)
        _check(limit)

        def work(tx: Transaction) -> tuple[Limit, bool]:
            tx.limits.lock()
            old, new = tx.limits.get(limit.id), _resolved(tx, limit)
            expected.require(old)
            if old != new:
                with self._recording(tx, principal, Action.LIMIT_SET, old, new):
                    tx.limits.put(new, old=old)
            return new, old is None

        done = await self._storage.transact(work)
        self._changed()
        return done

    async def remove(
        self, principal: Principal, limit_id: str, *, expected: Expected = ANYTHING
    ) -> None:
        """Remove a limit.

        Raises:
            NotFound: no such limit.
            ChangedMeanwhile: the stored limit is not the expected one.
        """
        require(principal, Permission.LIMITS_MANAGE)

        def work(tx: Transaction) -> None:
            tx.limits.lock()
            old = tx.limits.get(limit_id)
            if old is None:
                raise NotFound(_UNKNOWN)
            expected.require(old)
            with self._recording(tx, principal, Action.LIMIT_DELETE, old, None):
                tx.limits.remove(limit_id)

        await self._storage.transact(work)
        self._changed()

    def _recording(
        self,
        tx: Transaction,
        principal: Principal,
        action: Action,
        before: Limit | None,
        after: Limit | None,
    ) -> AbstractContextManager[None]:
        [limit_id, *_] = [limit.id for limit in (before, after) if limit is not None]
        event = AuditEvent(
            action=action,
            object_type="limit",
            object_id=limit_id,
            reason=None if after is None else str(after),
            before=self._auditing.digest(before, salt=limit_id),
            after=self._auditing.digest(after, salt=limit_id),
        )
        return self._auditing.recording(tx, principal, event)


def _check(limit: Limit) -> None:
    checked_id(limit.id)
    if not 0 <= limit.limit <= MAX_LIMIT:
        raise InvalidInput(f"A limit must be from 0 to {MAX_LIMIT}.", where=("limit",))
    for field in ("name", "model"):
        text = getattr(limit, field) or ""
        if len(text) > MAX_NAME_CHARS or not text.isprintable() or not is_storable(text):
            raise InvalidInput(
                f"A name can have at most {MAX_NAME_CHARS} printable characters.", where=(field,)
            )
    limit.require_sensible()


def _resolved(tx: Transaction, limit: Limit) -> Limit:
    """Return the limit, with its person as an id.

    Raises:
        InvalidInput: no such person or role.
    """
    if limit.subject is Subject.ROLE and limit.name not in tx.roles.all():
        raise InvalidInput("The role does not exist.", where=("name",))
    if limit.subject is not Subject.USER:
        return limit
    user = tx.users.by_id(UserId(limit.name)) or tx.users.by_email(limit.name.strip().lower())
    if user is None:
        raise InvalidInput("The user does not exist.", where=("name",))
    return replace(limit, name=user.id)
