"""Who is calling: log-in with a password, and from a token to its user."""

from dataclasses import dataclass, field

from chatbot.domain.errors import (
    InvalidCredentials,
    InvalidInput,
    InvalidToken,
    RateLimited,
    StorageFailure,
)
from chatbot.domain.identity import (
    Client,
    Principal,
    User,
    normalise_email,
    of_client,
    on_behalf_of,
)
from chatbot.domain.policy import is_checkable, normalise_password
from chatbot.domain.ports.security import Claims, PasswordHasher, Tokens
from chatbot.domain.ports.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token to show at every call, for `expires_in` seconds."""

    access_token: str = field(repr=False)
    expires_in: int


class Authentication:
    """Log-in, and the identification of callers."""

    def __init__(self, storage: Storage, hasher: PasswordHasher, tokens: Tokens) -> None:
        self._storage = storage
        self._hasher = hasher
        self._tokens = tokens

    async def login(self, email: str, password: str) -> AccessToken:
        """Return a token for the user with this e-mail address and password.

        Raises:
            InvalidCredentials: unknown, disabled or wrong password: the same answer after the
                same work (OWASP Authentication Cheat Sheet, "Authentication and Error Messages").
            RateLimited: too many people are logging in.
        """
        if not is_checkable(password):  # quick, but it tells nothing about the account
            raise _invalid_credentials()
        password = normalise_password(password)
        user = await self._active_user(email)
        known_hash = user.password_hash if user is not None else None
        if not await self._hasher.verify(password, known_hash) or user is None:
            raise _invalid_credentials()
        await self._strengthen(user, password)
        return self._token_for(user)

    async def identify(self, client: Client, raw_token: str | None) -> Principal:
        """Return who is calling, with the rights that are stored now.

        Raises:
            InvalidToken: the token is not valid, or was revoked: the user is gone, disabled, or
                has another token version.
        """
        if raw_token is None:
            return of_client(client)
        claims = self._tokens.read(raw_token)
        user, roles = await self._storage.transact(
            lambda tx: (tx.users.by_id(claims.user_id), tx.users.roles())
        )
        if user is None or not user.is_active or user.token_version != claims.token_version:
            raise InvalidToken("The token is not valid.")
        return on_behalf_of(user, roles, client)

    async def _active_user(self, email: str) -> User | None:
        """Return the user who may log in with this address, if there is one."""
        try:
            address = normalise_email(email)
        except InvalidInput:
            return None  # nobody can have it
        user = await self._storage.transact(lambda tx: tx.users.by_email(address))
        return user if user is not None and user.is_active else None

    async def _strengthen(self, user: User, password: str) -> None:
        """Replace a hash that was made with less cost: only now is the password at hand."""
        if not self._hasher.is_weaker(user.password_hash):
            return
        try:
            new = await self._hasher.hash(password)
            await self._storage.transact(
                lambda tx: tx.users.set_password_hash(user.id, old=user.password_hash, new=new)
            )
        except (RateLimited, StorageFailure):
            return  # the old hash still holds, and the next log-in tries again

    def _token_for(self, user: User) -> AccessToken:
        claims = Claims(user_id=user.id, token_version=user.token_version)
        token = self._tokens.issue(claims, roles=user.roles, department=user.department)
        return AccessToken(access_token=token, expires_in=self._tokens.ttl_s)


def _invalid_credentials() -> InvalidCredentials:
    return InvalidCredentials("E-mail or password is wrong.")
