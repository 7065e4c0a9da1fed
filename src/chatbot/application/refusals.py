"""Records refusals.

In a flood, some are recorded individually and the others as counts, so that it can neither fill the
disk nor hide other refusals. Per minute and process, ten refusals for an address and action, and
300 altogether, are recorded individually.
"""

import logging
from collections import Counter
from datetime import datetime, timedelta

from chatbot.application.audit_queue import AuditQueue
from chatbot.domain.audit import Action, AuditEvent, Outcome
from chatbot.domain.authorization import of_host
from chatbot.domain.errors import AuditUnavailable, cause_of
from chatbot.domain.identity import Principal
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.text import rfc3339
from chatbot.domain.throttling import network_of

SINGLY_OF_ADDRESS, SINGLY = 10, 300
MAX_ADDRESSES = 100
"""For how many addresses the other refusals are counted separately in a minute."""

logger = logging.getLogger("chatbot.audit")
_SERVICE = of_host("service")
_ELSEWHERE = "other addresses"
_MINUTE = timedelta(minutes=1)


class Refusals:
    """The refusals of this process."""

    def __init__(self, queue: AuditQueue, clock: Clock) -> None:
        self._queue, self._clock = queue, clock
        self._minute: datetime | None = None
        self._singly = Counter[tuple[Action, str]]()
        self._others = Counter[tuple[Action, str]]()

    async def note(self, principal: Principal, event: AuditEvent) -> None:
        """Record a refusal, or count it. Never raises: the call stays refused."""
        now = self._clock()
        if self._minute is None or not self._minute <= now < self._minute + _MINUTE:
            await self.flush()
            self._minute = now
        name = (event.action, network_of(principal.source.address))
        if self._singly[name] < SINGLY_OF_ADDRESS and self._singly.total() < SINGLY:
            self._singly[name] += 1
            await self._record(principal, event)
            return
        if name not in self._others and len(self._others) >= MAX_ADDRESSES:
            name = (event.action, _ELSEWHERE)
        self._others[name] += 1

    async def flush(self) -> None:
        """Record the counts of the past minute, or of the one that ends with the process."""
        since, others = self._minute, self._others
        self._minute, self._singly, self._others = None, Counter(), Counter()
        if since is None:
            return
        for (action, address), count in sorted(others.items()):
            event = AuditEvent(
                action=action,
                outcome=Outcome.REFUSED,
                object_type="address",
                object_id=address or _ELSEWHERE,
                reason=f"{count} more in the minute from {rfc3339(since)}",
            )
            await self._record(_SERVICE, event)

    async def flush_if_over(self) -> None:
        """Record the counts of the minute if it is over."""
        if self._minute is not None and self._clock() >= self._minute + _MINUTE:
            await self.flush()

    async def _record(self, principal: Principal, event: AuditEvent) -> None:
        try:
            await self._queue.note(principal, event)
        except AuditUnavailable as error:
            logger.warning("a refusal could not be recorded: %s", cause_of(error))
