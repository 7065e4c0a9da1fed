"""Lets users change their own password."""

from dataclasses import replace

from chatbot.application.auditing import Auditing
from chatbot.application.authentication import Authentication
from chatbot.application.token_pairs import TokenPair, TokenPairs
from chatbot.domain.audit import Action
from chatbot.domain.errors import Conflict, InvalidInput, Unauthenticated
from chatbot.domain.identity import Principal, User
from chatbot.domain.passwords import check_password, normalise_password
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.domain.sign_in import RefreshFamily
from chatbot.domain.transaction import Transaction


class OwnPassword:
    """Replaces the caller's password."""

    def __init__(
        self,
        storage: Storage,
        authentication: Authentication,
        pairs: TokenPairs,
        hasher: PasswordHasher,
        auditing: Auditing,
    ) -> None:
        self._storage, self._authentication, self._pairs = storage, authentication, pairs
        self._hasher, self._auditing = hasher, auditing

    async def change(self, principal: Principal, current: str, new: str) -> TokenPair:
        """Change the password, end all sign-ins, and start a new one.

        The current password is checked as for a log-in, so that a stolen token does not help to
        guess it.

        Raises:
            InvalidCredentials: the current password is wrong.
            RateLimited: too many attempts have failed, or too many log-ins are in progress.
            InvalidInput: the new password is invalid.
        """
        if principal.user is None:
            raise Unauthenticated("This call requires a user: log in first.")
        email = principal.user.email
        user = await self._authentication.verified(principal, email, current)
        if normalise_password(new) == normalise_password(current):
            raise InvalidInput(
                "The new password must differ from the current one.", where=("new_password",)
            )
        check_password(new, email=email, department=user.department, field="new_password")
        password_hash = await self._hasher.hash(normalise_password(new))
        changed = replace(user.with_password_hash(password_hash), one_time_until=None)

        def work(tx: Transaction) -> RefreshFamily:
            self._store(tx, principal, user, changed)
            return self._pairs.begin(tx, principal, changed)

        return self._pairs.pair_of(await self._storage.transact(work), changed)

    def _store(self, tx: Transaction, principal: Principal, user: User, changed: User) -> None:
        tx.users.lock()
        is_own = principal.user is not None and principal.user.id == user.id
        if not is_own or tx.users.by_id(user.id) != user:
            raise Conflict("The user was changed in the meantime. Try again.")
        event = self._auditing.user_event(Action.PASSWORD_CHANGE, user, changed)
        with self._auditing.recording(tx, principal, event):
            tx.users.replace(changed, old=user, roles=tx.roles.all())
