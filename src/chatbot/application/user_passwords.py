"""The passwords of other users, which administrators set or replace by one-time passwords."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chatbot.application.user_writer import UserWriter
from chatbot.domain.audit import Action
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal, User, UserId, next_token_version
from chatbot.domain.passwords import check_password, normalise_password
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import PasswordHasher

ONE_TIME_TTL = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithPassword:
    """A user, and the one-time password if one was generated: it cannot be shown again."""

    user: User
    one_time_password: str | None = field(default=None, repr=False)


class UserPasswords:
    """Sets passwords of users and ends their sign-ins.

    Raises what `UserWriter.change` raises.

    Args:
        new_password: makes a one-time password.
    """

    def __init__(
        self,
        hasher: PasswordHasher,
        writer: UserWriter,
        *,
        clock: Clock,
        new_password: Callable[[], str],
    ) -> None:
        self._hasher, self._writer = hasher, writer
        self._clock, self._new_password = clock, new_password

    async def set(self, principal: Principal, user_id: UserId, password: str) -> User:
        """Set a user's password, and revoke the tokens.

        Raises:
            InvalidInput: the password is invalid.
        """
        user = await self._writer.target(principal, user_id)
        check_password(password, email=user.email, department=user.department)
        password_hash = await self._hasher.hash(normalise_password(password))
        return await self._set_hash(principal, user_id, password_hash)

    async def reset(
        self, principal: Principal, user_id: UserId, *, expected: Expected = ANYTHING
    ) -> WithPassword:
        """Give a user a one-time password, and revoke the tokens."""
        await self._writer.target(principal, user_id)
        one_time = self._new_password()
        password_hash = await self._hasher.hash(one_time)
        until = self._clock() + ONE_TIME_TTL
        user = await self._set_hash(
            principal, user_id, password_hash, until=until, expected=expected
        )
        return WithPassword(user=user, one_time_password=one_time)

    async def log_out(
        self, principal: Principal, user_id: UserId, *, expected: Expected = ANYTHING
    ) -> User:
        """End all tokens and running answers of a user."""
        return await self._writer.change(
            principal,
            user_id,
            lambda _, user: replace(user, token_version=next_token_version(user.token_version)),
            action=Action.USER_LOGOUT,
            expected=expected,
        )

    async def _set_hash(
        self,
        principal: Principal,
        user_id: UserId,
        password_hash: str,
        *,
        until: datetime | None = None,
        expected: Expected = ANYTHING,
    ) -> User:
        return await self._writer.change(
            principal,
            user_id,
            lambda _, user: replace(user.with_password_hash(password_hash), one_time_until=until),
            action=Action.USER_PASSWORD,
            expected=expected,
        )
