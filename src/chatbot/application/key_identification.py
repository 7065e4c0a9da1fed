"""Identifies the application that a key belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.domain.credentials import ApiKey, key_id_of, matching_pepper
from chatbot.domain.identity import Client
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """A key that was looked up, and the application that calls with it."""

    key: ApiKey
    client: Client


class KeyIdentification:
    """Looks up keys.

    Args:
        peppers: the secrets of the stored digests, newest first.
    """

    def __init__(self, storage: Storage, *, peppers: Sequence[bytes], clock: Clock) -> None:
        self._storage, self._peppers, self._clock = storage, tuple(peppers), clock

    async def look_up(self, raw_key: str) -> KnownKey | None:
        """Return the key if it can be used now. The store is read only if its checksum is right.

        An unknown id takes as long as a wrong secret.
        """
        key_id = key_id_of(raw_key)
        if key_id is None:
            return None
        stored = await self._storage.transact(lambda tx: tx.api_keys.by_id(key_id))
        pepper = matching_pepper(raw_key, stored, self._peppers)
        if stored is None or pepper is None or not stored.is_live(self._clock()):
            return None
        client = stored.as_client(stored.assertion_secret(raw_key, pepper))
        return KnownKey(key=stored, client=client)

    def is_live(self, known: KnownKey) -> bool:
        """Whether the key can be used now."""
        return known.key.is_live(self._clock())
