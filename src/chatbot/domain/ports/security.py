"""The ports to password hashing, tokens and API keys."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from chatbot.domain.identity import Client, UserId


class PasswordHasher(Protocol):
    """Turns passwords into hashes, slowly and on purpose, off the event loop.

    All methods raise `RateLimited` when too many calls are waiting.
    """

    @abstractmethod
    async def hash(self, password: str) -> str:
        """Return a salted hash with the current parameters."""

    @abstractmethod
    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password belongs to the hash.

        None stands for an unknown user: it takes as long as a real check and is False. So does a
        hash that cannot be read.
        """

    def pad_to(self, schemes: Mapping[str, int]) -> None:  # noqa: ARG002 # one that does not hash has no time to hide
        """Let every check take as long as one of each of these schemes together.

        `schemes` says how many users have a hash of each (`identity.scheme_of`). So the time of a
        check does not say whose it was. May be called from any thread.
        """
        return

    def rest_while(self, is_busy: Callable[[], bool]) -> None:  # noqa: ARG002 # as above
        """Pause after each hash for as long as it took, while others need the processor."""
        return

    @abstractmethod
    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with parameters below the current ones."""

    @abstractmethod
    async def aclose(self) -> None:
        """End the worker; calls that wait fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a valid token says."""

    user_id: UserId
    token_stamp: str


class Tokens(Protocol):
    """Issues and reads access tokens."""

    @abstractmethod
    def issue(self, claims: Claims, *, roles: tuple[str, ...], department: str) -> str:
        """Return a signed token. Roles and department are a hint for clients only."""

    @abstractmethod
    def read(self, raw_token: str) -> Claims:
        """Return what the token says.

        Raises:
            InvalidToken: it is malformed, forged, not yet valid, expired or not ours.
        """

    @property
    @abstractmethod
    def ttl_s(self) -> int:
        """Life of a token in seconds."""


IdentifyClient = Callable[[str], Client | None]
"""From a raw API key to its client, or None; takes the same time either way."""
