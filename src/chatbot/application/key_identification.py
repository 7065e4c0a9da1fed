"""Finds out which application a key belongs to."""

from collections.abc import Sequence

from chatbot.domain.credentials import ApiKey, key_id_of, matching_pepper
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage


class KeyIdentification:
    """Looks keys up.

    Args:
        peppers: those under which stored keys may be digested, the newest first.
    """

    def __init__(self, storage: Storage, *, peppers: Sequence[bytes], clock: Clock) -> None:
        self._storage, self._peppers, self._clock = storage, tuple(peppers), clock

    async def look_up(self, raw_key: str) -> ApiKey | None:
        """Return the key if it can be used now; the store is asked only if its checksum is right.

        An unknown id takes as long as a wrong secret.
        """
        key_id = key_id_of(raw_key)
        if key_id is None:
            return None
        stored = await self._storage.transact(lambda tx: tx.api_keys.by_id(key_id))
        if matching_pepper(raw_key, stored, self._peppers) is None:
            return None
        return stored if stored is not None and self.is_live(stored) else None

    def is_live(self, key: ApiKey) -> bool:
        """Whether the key can be used now, going by what is known of it."""
        return key.is_live(self._clock())
