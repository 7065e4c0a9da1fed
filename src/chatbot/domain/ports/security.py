"""The ports to password hashing, tokens and API keys."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chatbot.domain.assertions import Assertion, AssertionKind
from chatbot.domain.identity import Client, ClientId, FamilyId, User, UserId


class PasswordHasher(Protocol):
    """Hashes passwords, which is slow by design, off the event loop.

    All methods raise `RateLimited` if too many calls are waiting.
    """

    @abstractmethod
    async def hash(self, password: str) -> str:
        """Return a salted hash with the current parameters."""

    @abstractmethod
    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Return whether the password matches the hash.

        None stands for an unknown user: the check takes as long as a real one and returns False. The
        same applies to an unreadable hash.
        """

    def pad_to(self, schemes: Mapping[str, int]) -> None:  # noqa: ARG002 # a fake has no timing to hide
        """Make every check take as long as one hash of each of these schemes.

        `schemes` maps each scheme (`identity.scheme_of`) to its number of users. So the duration of
        a check does not reveal whose password it was. Callable from any thread.
        """
        return

    def rest_while(self, is_busy: Callable[[], bool]) -> None:  # noqa: ARG002 # as above
        """Pause after each hash for as long as it took, while `is_busy`."""
        return

    @abstractmethod
    def needs_rehash(self, password_hash: str) -> bool:
        """Return whether the hash has weaker parameters than the current ones."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop the worker; waiting calls fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims of a valid token. `family_id` is the sign-in to which it belongs."""

    user_id: UserId
    token_stamp: str
    family_id: FamilyId


class Tokens(Protocol):
    """Issues and reads access tokens."""

    @abstractmethod
    def issue(self, user: User, *, family_id: FamilyId, token_id: str, at: datetime) -> str:
        """Return a token of the user, signed, as of a moment.

        The same arguments give the same token. Roles and department in it are informative only.
        """

    @abstractmethod
    def read(self, raw_token: str) -> Claims:
        """Return the claims of the token.

        Raises:
            InvalidToken: the token is malformed, forged, not yet valid, expired or foreign.
        """

    @property
    @abstractmethod
    def ttl_s(self) -> int:
        """Lifetime of a token in seconds."""


class RefreshTokens(Protocol):
    """Derives the refresh tokens of a sign-in, so that none has to be stored."""

    @abstractmethod
    def issue(self, family_id: FamilyId, number: int) -> str:
        """Return the token with this number."""

    @abstractmethod
    def read(self, raw_token: str) -> tuple[FamilyId, int]:
        """Return the family and the number of a token, without a look-up.

        Raises:
            InvalidToken: the token is malformed or forged.
        """

    @abstractmethod
    def access_token_id(self, family_id: FamilyId, number: int) -> str:
        """Return the id of the access token that is issued with the refresh token."""


class Assertions(Protocol):
    """Verifies the assertions of applications about the person for whom they call."""

    @abstractmethod
    def read(
        self, raw_assertion: str, kind: AssertionKind, *, secret: str, issuer: ClientId
    ) -> Assertion:
        """Return the assertion of this client, signed with its secret.

        Does not check whether it was used before.

        Raises:
            InvalidAssertion: it is malformed, forged, not yet valid, expired or foreign.
        """


IdentifyClient = Callable[[str], Client | None]
"""Returns the client of a raw API key, or None, in constant time."""
