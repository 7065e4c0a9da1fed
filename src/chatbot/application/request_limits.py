"""Limits the requests of each caller to so many a minute."""

from datetime import UTC, datetime

from chatbot.application.limit_counters import LimitChecks
from chatbot.domain.errors import RateLimited
from chatbot.domain.identity import Principal
from chatbot.domain.ports.counters import Addition
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.quotas import Period, Quota, Unit, Window, window_of
from chatbot.domain.usage import rate_key


class RequestLimits:
    """Counts the requests of each person, or of a client that calls for itself.

    While the counters cannot be reached, requests pass uncounted.

    Args:
        per_minute: the most in one minute of the clock; 0 = no limit.
    """

    def __init__(self, counters: LimitChecks, *, per_minute: int, clock: Clock) -> None:
        self._counters = counters
        self._per_minute = per_minute
        self._clock = clock

    async def count(self, principal: Principal) -> None:
        """Count a request of this caller.

        Raises:
            RateLimited: it is one too many, and does not count.
        """
        if not self._per_minute:
            return
        now = self._clock()
        window = window_of(Period.MINUTE, now, UTC)
        request = Addition(
            key=rate_key(principal.owner, window.name),
            amount=1,
            expires_at=window.ends_at,
            limit=self._per_minute,
        )
        if await self._counters.count([request], now=now):
            raise self._refusal(window, now)

    def _refusal(self, window: Window, now: datetime) -> RateLimited:
        reset_s = (window.ends_at - now).total_seconds()
        quota = Quota(
            name="requests per minute",
            unit=Unit.REQUESTS,
            amount=self._per_minute,
            window=window,
            reset_s=reset_s,
        )
        return RateLimited(
            f"You have made {self._per_minute} requests in this minute: wait for the next one.",
            retry_after_s=reset_s,
            quotas=[quota],
        )

    async def aclose(self) -> None:
        """Disconnect from the counters."""
        await self._counters.aclose()
