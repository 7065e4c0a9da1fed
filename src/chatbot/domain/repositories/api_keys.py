"""The API keys of applications."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from chatbot.domain.credentials import MAX_LIVE_KEYS, ApiKey, live_keys
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import ClientId, KeyId
from chatbot.domain.ports.records import Kind, Records


def _supersedes(new: ApiKey, old: ApiKey) -> bool:
    """A key can only be used again, end earlier, and be revoked."""
    return (
        _as_made(new) == _as_made(old)
        and _ends_by(new.expires_at, old.expires_at)
        and _ends_by(new.revoked_at, old.revoked_at)
        and (new.last_used_on or "") >= (old.last_used_on or "")
    )


def _as_made(key: ApiKey) -> ApiKey:
    return replace(key, expires_at=None, revoked_at=None, last_used_on=None)


def _ends_by(moment: datetime | None, other: datetime | None) -> bool:
    return other is None or (moment is not None and moment <= other)


API_KEYS = Kind(
    name="api_keys",
    singular="API key",
    type=ApiKey,
    key=("id",),
    indexed=("client",),
    supersedes=_supersedes,
)


class ApiKeyRepository:
    """The API keys of the store, including expired and revoked ones."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def by_id(self, key_id: KeyId) -> ApiKey | None:
        """Return the key with this id, or None."""
        return self._records.get(API_KEYS, key_id)

    def page(self, *, after: KeyId | None, limit: int | None) -> Sequence[ApiKey]:
        """Return keys in the order of their ids, from the first one after `after`."""
        return self._records.page(API_KEYS, after=(after,) if after else (), limit=limit)

    def exclusive(self) -> None:
        """Lock out other writers of keys until the transaction ends."""
        self._records.exclusive(API_KEYS)

    def require_room(
        self, client: ClientId, now: datetime, *, ending: ApiKey | None = None
    ) -> None:
        """Check that the client may have another key, not counting one that ends now.

        Raises:
            Conflict: it has two usable keys.
        """
        keys = self._records.page(API_KEYS, field="client", value=client)
        others = [key for key in live_keys(keys, now) if ending is None or key.id != ending.id]
        if len(others) >= MAX_LIVE_KEYS:
            raise Conflict("The client already has two usable keys: revoke one first.")

    def add(self, key: ApiKey) -> None:
        """Store a new key.

        Raises:
            Conflict: the id is taken.
        """
        self._records.put(API_KEYS, key, expected=None)

    def replace(self, key: ApiKey, *, old: ApiKey) -> None:
        """Store the key in place of `old`.

        Raises:
            Conflict: the stored key is no longer `old`.
        """
        self._records.put(API_KEYS, key, expected=old)
