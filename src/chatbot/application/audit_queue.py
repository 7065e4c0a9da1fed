"""Appends the events of concurrent callers together, in one transaction with one sync."""

import asyncio

from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AuditEvent
from chatbot.domain.errors import AuditUnavailable, StorageFailure
from chatbot.domain.identity import Principal
from chatbot.domain.ports.storage import Storage

_EVENTS_AT_ONCE = 500
_Waiting = tuple[Principal, AuditEvent, "asyncio.Future[None]"]


class AuditQueue:
    """For events that do not belong to a change. Each is durable when `note` returns."""

    def __init__(self, storage: Storage, auditing: Auditing) -> None:
        self._storage, self._auditing = storage, auditing
        self._waiting: list[_Waiting] = []
        self._appending: asyncio.Task[None] | None = None

    async def note(self, principal: Principal, event: AuditEvent) -> None:
        """Append an event. Cancelling the caller does not withdraw it.

        Raises:
            AuditUnavailable: it cannot be written.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((principal, event, done))
        if self._appending is None:
            self._appending = asyncio.create_task(self._append_all())
        await done

    async def _append_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:_EVENTS_AT_ONCE]
                del self._waiting[:_EVENTS_AT_ONCE]
                error = await self._error_of(batch)
                for _, _, done in batch:
                    if done.done():
                        continue
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)
        finally:
            self._appending = None

    async def _error_of(self, batch: list[_Waiting]) -> Exception | None:
        events = [(principal, event) for principal, event, _ in batch]
        try:
            await self._storage.transact(lambda tx: self._auditing.note_all(tx, events))
        except AuditUnavailable as error:
            return error
        except StorageFailure as error:
            unavailable = AuditUnavailable()
            unavailable.__cause__ = error
            return unavailable
        return None

    async def aclose(self) -> None:
        """Wait until all events are written."""
        if self._appending is not None:
            await asyncio.wait({self._appending})
