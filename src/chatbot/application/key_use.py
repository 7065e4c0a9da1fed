"""Records on which days and from which addresses keys are used, outside the request path."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from chatbot.application.auditing import Auditing
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.errors import StorageFailure, cause_of
from chatbot.domain.identity import KeyId, Principal
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.throttling import network_of
from chatbot.domain.transaction import Transaction

MAX_NEW_ADDRESSES = 100
"""New addresses recorded per key and day: a widely used key must not fill the audit."""
REMEMBERED_FOR = timedelta(days=90)
"""An address that has not been used for this long counts as new again."""
PAUSE_S = 30.0
"""How long after a failure nothing is written."""

_MAX_SEEN = 10_000
_MAX_PENDING = 1_000
_ADDRESSES, _NEW_ADDRESSES = "key_addresses", "key_new_addresses"
logger = logging.getLogger("chatbot.keys")

_Use = tuple[KeyId, str]


class KeyUse:
    """Writes once a day for each key and address. Other uses only cost a look-up in a dictionary.

    Uses that cannot be written are recorded at a later request with the key.
    """

    def __init__(self, storage: Storage, auditing: Auditing, *, clock: Clock) -> None:
        self._storage, self._auditing, self._clock = storage, auditing, clock
        self._seen: dict[_Use, str] = {}
        self._pending: dict[_Use, Principal] = {}
        self._writing: asyncio.Task[None] | None = None
        self._paused_until = float("-inf")

    def note(self, principal: Principal) -> None:
        """Note that this caller is using a key now; called for each request."""
        key_id, address = principal.client.key_id, principal.source.address
        today = _day(self._clock())
        if key_id is None or self._seen.get((key_id, address)) == today:
            return
        is_paused = asyncio.get_running_loop().time() < self._paused_until
        if is_paused or len(self._pending) >= _MAX_PENDING:
            return
        self._mark(key_id, address, today)
        self._pending[key_id, address] = principal
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_pending())

    async def aclose(self) -> None:
        """Write the pending uses."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    def _mark(self, key_id: KeyId, address: str, today: str) -> None:
        self._seen.pop((key_id, address), None)
        self._seen[key_id, address] = today
        if len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]  # the oldest

    async def _write_pending(self) -> None:
        try:
            while self._pending:
                use, principal = next(iter(self._pending.items()))
                await self._storage.transact(partial(self._write, principal))
                self._pending.pop(use, None)
        except StorageFailure as error:
            logger.warning("the use of API keys could not be recorded: %s", cause_of(error))
            self._paused_until = asyncio.get_running_loop().time() + PAUSE_S
            for use in self._pending:
                self._seen.pop(use, None)
            self._pending.clear()
        finally:
            self._writing = None

    def _write(self, principal: Principal, tx: Transaction) -> None:
        key_id, now = principal.client.key_id, self._clock()
        tx.api_keys.exclusive()  # also for the counters, which nobody else writes
        key = None if key_id is None else tx.api_keys.by_id(key_id)
        if key is None:
            return
        if self._is_new(tx, principal, now):
            event = AuditEvent(action=Action.KEY_NEW_ADDRESS, object_type="key", object_id=key.id)
            self._auditing.note(tx, principal, event)
        if (key.last_used_on or "") < _day(now):
            tx.api_keys.replace(replace(key, last_used_on=_day(now)), old=key)

    def _is_new(self, tx: Transaction, principal: Principal, now: datetime) -> bool:
        """Remember the address; return whether it is new and must be recorded."""
        key_id = principal.client.key_id
        network = self._auditing.pseudonym(network_of(principal.source.address))
        address = CounterKey(_ADDRESSES, f"{key_id}|{network}")
        is_known = bool(tx.counters.read([address], now=now)[address])
        if not is_known and tx.counters.add(_one_more(key_id, now), now=now):
            return False
        tx.counters.clear([address])
        tx.counters.add(_remembered(address, now), now=now)
        return not is_known


def _one_more(key_id: KeyId | None, now: datetime) -> Sequence[Addition]:
    """A new address of a key on this day."""
    end = datetime.combine(now.astimezone(UTC).date(), datetime.min.time(), UTC) + timedelta(days=1)
    key = CounterKey(_NEW_ADDRESSES, str(key_id))
    return [Addition(key=key, amount=1, expires_at=end, limit=MAX_NEW_ADDRESSES)]


def _remembered(address: CounterKey, now: datetime) -> Sequence[Addition]:
    return [Addition(key=address, amount=1, expires_at=now + REMEMBERED_FOR)]


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
