"""Finds the person for whom an application calls, by its signed assertion."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from chatbot.application.auditing import Auditing
from chatbot.domain.assertions import Assertion, AssertionKind
from chatbot.domain.audit import Action, granted
from chatbot.domain.authorization import on_behalf_of, require
from chatbot.domain.errors import InvalidAssertion, UnknownUser
from chatbot.domain.identity import Principal, User, UserId, UserSource
from chatbot.domain.permissions import Permission, Role
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.security import Assertions
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

PROVISIONED_ROLE = "employee"
_USED = "assertions"
_CLOCKS_DIFFER_BY = timedelta(minutes=1)
"""A use is remembered for longer than any replica accepts the assertion."""


class EndUsers:
    """Identifies the people for whom applications call.

    Args:
        provisions: whether to create unknown people, with the role `employee`.
    """

    def __init__(
        self,
        storage: Storage,
        assertions: Assertions,
        auditing: Auditing,
        *,
        clock: Clock,
        new_id: NewId,
        provisions: bool,
    ) -> None:
        self._storage, self._assertions, self._auditing = storage, assertions, auditing
        self._clock, self._new_id, self._provisions = clock, new_id, provisions

    async def identify(
        self, application: Principal, raw_assertion: str, kind: AssertionKind
    ) -> Principal:
        """Return the person whom the application names, with the rights of both.

        The person needs no password, and a one-time password need not have been replaced: the
        application has logged them in.

        Raises:
            Forbidden: the key of the application lacks the scope.
            InvalidAssertion: the assertion is not valid now, was used before, or names a person who
                is disabled or has expired.
            UnknownUser: the person does not exist, or id and e-mail address belong to different people.
            AuditUnavailable: the person cannot be created without a record of it.
        """
        require(application, Permission.ACT_FOR_USERS)
        client = application.client
        if client.assertion_secret is None:
            raise InvalidAssertion
        assertion = self._assertions.read(
            raw_assertion, kind, secret=client.assertion_secret, issuer=client.id
        )
        user, roles = await self._storage.transact(partial(self._find, application, assertion))
        if user is None:
            raise UnknownUser
        if not user.is_active_at(self._clock()):
            raise InvalidAssertion
        return on_behalf_of(user, roles, application)

    def _find(
        self, application: Principal, assertion: Assertion, tx: Transaction
    ) -> tuple[User | None, Mapping[str, Role]]:
        """Mark the assertion as used, and return its user and the roles.

        It stays used even if the call fails.
        """
        if assertion.nonce is not None:
            self._use(application, assertion, assertion.nonce, tx)
        user = _named(tx, assertion)
        if user is None and assertion.user_id is None and self._provisions:
            user = self._provisioned(application, assertion, tx)
        return user, tx.roles.all()

    def _use(
        self, application: Principal, assertion: Assertion, nonce: str, tx: Transaction
    ) -> None:
        named = f"{application.client.id}\0{nonce}".encode()
        once = Addition(
            key=CounterKey(_USED, hashlib.sha256(named).hexdigest()),
            amount=1,
            expires_at=assertion.expires_at + _CLOCKS_DIFFER_BY,
            limit=1,
        )
        if tx.counters.add([once], now=self._clock()):
            raise InvalidAssertion

    def _provisioned(
        self, application: Principal, assertion: Assertion, tx: Transaction
    ) -> User | None:
        """Create the person with this e-mail address; only one of several concurrent calls does."""
        if assertion.email is None:
            return None
        tx.users.lock()
        existing = tx.users.by_email(assertion.email)
        if existing is not None:
            return existing
        user = User(
            id=UserId(self._new_id()),
            email=assertion.email,
            password_hash="",
            roles=(PROVISIONED_ROLE,),
            department="",
            created_at=self._clock(),
            source=UserSource.ASSERTION,
            audit_salt=self._new_id(),
        )
        event = self._auditing.user_event(
            Action.USER_CREATE, None, user, reason=granted((), user.roles)
        )
        with self._auditing.recording(tx, application, event):
            tx.users.add(user)
        return user


def _named(tx: Transaction, assertion: Assertion) -> User | None:
    """Return the person; with an id and an address, only if both match."""
    if assertion.user_id is None:
        return None if assertion.email is None else tx.users.by_email(assertion.email)
    user = tx.users.by_id(assertion.user_id)
    if user is not None and assertion.email not in {None, user.email}:
        return None
    return user
