"""Erasure of a person at their own request, confirmed with the password."""

from dataclasses import replace
from functools import partial

from chatbot.application.authentication import Authentication
from chatbot.application.erasure import Erasures
from chatbot.domain.erasure import Receipt
from chatbot.domain.errors import InvalidToken, Unauthenticated
from chatbot.domain.identity import Principal, User
from chatbot.domain.transaction import Transaction


class OwnErasure:
    """Erases the caller."""

    def __init__(self, erasures: Erasures, authentication: Authentication) -> None:
        self._erasures, self._authentication = erasures, authentication

    async def erase(self, principal: Principal, password: str) -> Receipt:
        """Erase the caller, whose password is checked as for a log-in.

        The service finishes an interrupted erasure.

        Raises:
            InvalidCredentials, RateLimited: see `Authentication.verified`.
            LastAdministrator: no one could manage users and roles any more.
            SessionHeld, SessionBusy, AuditUnavailable: see `Erasures.erase`.
        """
        if principal.user is None:
            raise Unauthenticated("This call requires a user: log in first.")
        verified = await self._authentication.verified(principal, principal.user.email, password)
        return await self._erasures.erase(principal, partial(_allowed, verified))


def _allowed(verified: User, tx: Transaction) -> User:
    """Return the user, unless the sign-in was revoked since the password was checked."""
    user = tx.users.by_id(verified.id)
    if user is None or user.token_stamp != verified.token_stamp:
        raise InvalidToken
    gone = replace(user, is_active=False)
    tx.users.require_another_administrator(gone, old=user, roles=tx.roles.all())
    return user
