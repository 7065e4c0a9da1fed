"""Limits the requests of each caller: to so many a minute, and by the limits of administrators."""

from datetime import UTC, datetime, tzinfo

from chatbot.application.limit_counters import LimitChecks
from chatbot.application.limit_rules import LimitRules
from chatbot.domain.errors import RateLimited
from chatbot.domain.identity import Principal
from chatbot.domain.limits import LimitKind, charges
from chatbot.domain.ports.counters import Addition
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.quotas import Period, Quota, Unit, Window, window_of
from chatbot.domain.usage import payer_of, rate_key

_OF_REQUESTS = frozenset({LimitKind.REQUESTS})


class RequestLimits:
    """Counts the requests of each person, or of a client that calls for itself.

    While the counters cannot be reached, requests pass uncounted.

    Args:
        minutes: counts what is forgotten after a minute.
        windows: counts what matters until the end of an hour, a day or a month.
        per_minute: the most in one minute of the clock; 0 = no limit.
        zone: the time zone of days and months.
    """

    def __init__(
        self,
        rules: LimitRules,
        *,
        minutes: LimitChecks,
        windows: LimitChecks,
        per_minute: int,
        zone: tzinfo,
        clock: Clock,
    ) -> None:
        self._rules, self._minutes, self._windows = rules, minutes, windows
        self._per_minute, self._zone, self._clock = per_minute, zone, clock

    async def count(self, principal: Principal) -> None:
        """Count a request of this caller.

        Raises:
            RateLimited: it is one too many. It does not count against the limits of administrators.
        """
        now = self._clock()
        if self._per_minute:
            await self._count_in_minute(principal, now)
        limits = await self._rules.current()
        if limits:
            payer = payer_of(principal)
            found = charges(limits, _OF_REQUESTS, payer, now=now, zone=self._zone)
            additions = [each.requested() for each in found]
            exceeding = await self._windows.count(additions, now=now) if additions else ()
            keys = {each.key for each in exceeding}
            self._refuse([each.quota(now) for each in found if each.key in keys])

    async def _count_in_minute(self, principal: Principal, now: datetime) -> None:
        window = window_of(Period.MINUTE, now, UTC)
        request = Addition(
            key=rate_key(principal.owner, window.name),
            amount=1,
            expires_at=window.ends_at,
            limit=self._per_minute,
        )
        if await self._minutes.count([request], now=now):
            self._refuse([self._quota(window, now)])

    def _quota(self, window: Window, now: datetime) -> Quota:
        return Quota(
            name="requests per minute",
            unit=Unit.REQUESTS,
            amount=self._per_minute,
            window=window,
            reset_s=(window.ends_at - now).total_seconds(),
        )

    def _refuse(self, quotas: list[Quota]) -> None:
        if not quotas:
            return
        longest = max(quotas, key=lambda quota: quota.reset_s or 0)
        raise RateLimited(
            f"You have made {longest.amount} requests, the most that {longest.name!r} allows: wait.",
            retry_after_s=longest.reset_s or 0,
            quotas=quotas,
        )

    async def aclose(self) -> None:
        """Disconnect from the counters."""
        await self._minutes.aclose()
        if self._windows is not self._minutes:
            await self._windows.aclose()
