"""Limits the requests of each caller: per minute, and by the limits that administrators set."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Self

from chatbot.application.limit_counters import LimitChecks
from chatbot.application.limit_rules import LimitRules
from chatbot.domain.errors import RateLimited
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.limits import LimitKind, charges
from chatbot.domain.ports.counters import Addition
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import Claims
from chatbot.domain.quotas import Period, Quota, Unit, Window, window_of
from chatbot.domain.usage import Payer, payer_of, rate_key

_OF_REQUESTS = frozenset({LimitKind.REQUESTS})
_MOST_RECENT = 10_000


class RequestLimits:
    """Counts the requests of each person, or of a client that calls for itself.

    While the counters cannot be reached, requests pass uncounted.

    Args:
        minutes: counters that are kept for a minute.
        windows: counters that are kept until the end of an hour, a day or a month. If it is the same
            as `minutes`, a request is counted by both in one step.
        per_minute: the maximum in one clock minute; 0 = no limit.
        zone: the time zone of days and months.
        ahead: whether to count while the caller is looked up, for remote counters.
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
        ahead: bool = False,
    ) -> None:
        self._rules, self._minutes, self._windows = rules, minutes, windows
        self._per_minute, self._zone, self._clock = per_minute, zone, clock
        self._ahead = ahead
        self._recent: dict[Claims, Payer] = {}

    def counting(self) -> "RequestCount":
        """Begin a request: an asynchronous context manager."""
        return RequestCount(self)

    async def count(self, principal: Principal) -> None:
        """Count a request of this caller.

        Raises:
            RateLimited: the limit is reached. The request does not count against the limits of
                administrators.
        """
        self.refuse(await self.exceeded(payer_of(principal)))

    async def exceeded(self, payer: Payer) -> Sequence[Quota]:
        """Count a request of this payer, and return the limits that it exceeds, if any."""
        now = self._clock()
        limits = await self._rules.current()
        found = charges(limits, _OF_REQUESTS, payer, now=now, zone=self._zone) if limits else ()
        window = window_of(Period.MINUTE, now, UTC)
        minute = [self._in_minute(payer.owner, window)] if self._per_minute else []
        windows = [each.requested() for each in found]
        keys = {each.key for each in await self._exceeding(minute, windows, now)}
        quotas = [each.quota(now) for each in found if each.key in keys]
        is_over = any(each.key in keys for each in minute)
        return [self._quota(window, now), *quotas] if is_over else quotas

    async def _exceeding(
        self, minute: list[Addition], windows: list[Addition], now: datetime
    ) -> Sequence[Addition]:
        if self._minutes is self._windows:
            minute, windows = [], minute + windows
        exceeding = await self._minutes.count(minute, now=now) if minute else ()
        if exceeding or not windows:
            return exceeding
        return await self._windows.count(windows, now=now)

    def _in_minute(self, owner: Owner, window: Window) -> Addition:
        return Addition(
            key=rate_key(owner, window.name),
            amount=1,
            expires_at=window.ends_at,
            limit=self._per_minute,
        )

    def _quota(self, window: Window, now: datetime) -> Quota:
        return Quota(
            name="requests per minute",
            unit=Unit.REQUESTS,
            amount=self._per_minute,
            window=window,
            reset_s=(window.ends_at - now).total_seconds(),
        )

    def refuse(self, quotas: Sequence[Quota]) -> None:
        """Refuse the request if it exceeds a limit.

        Raises:
            RateLimited: it does.
        """
        if not quotas:
            return
        longest = max(quotas, key=lambda quota: quota.reset_s or 0)
        raise RateLimited(
            f"The limit of {longest.amount} requests is reached ({longest.name}). Try again later.",
            retry_after_s=longest.reset_s or 0,
            quotas=quotas,
        )

    def expected(self, claims: Claims) -> Payer | None:
        """Return who made the last request with this token, if requests are counted ahead."""
        return self._recent.get(claims)

    def remember(self, claims: Claims, payer: Payer) -> None:
        """Note that the token is valid, and whose it is."""
        if not self._ahead or self._recent.get(claims) == payer:
            return
        self._recent[claims] = payer
        if len(self._recent) > _MOST_RECENT:
            del self._recent[next(iter(self._recent))]

    def forget(self, claims: Claims) -> None:
        """Note that the token may no longer be valid."""
        self._recent.pop(claims, None)

    async def aclose(self) -> None:
        """Disconnect from the counters."""
        await self._minutes.aclose()
        if self._windows is not self._minutes:
            await self._windows.aclose()


class RequestCount:
    """Counts one request: while its caller is looked up, or afterwards.

    A request is counted ahead only if its token was valid at the previous request, so that a
    revoked token cannot use up the requests of the person from whom it was stolen.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._claims: Claims | None = None
        self._expected: Payer | None = None
        self._exceeded: asyncio.Task[Sequence[Quota]] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._exceeded is not None:
            self._exceeded.cancel()
        if self._claims is not None:
            self._limits.forget(self._claims)

    def look_up(self, claims: Claims) -> None:
        """Begin to count for the bearer of this token, who is looked up next."""
        self._claims = claims
        self._expected = self._limits.expected(claims)
        if self._expected is not None:
            self._exceeded = asyncio.create_task(self._limits.exceeded(self._expected))

    async def finish(self, principal: Principal) -> None:
        """Count the request of this caller, who has been looked up.

        Raises:
            RateLimited: as `RequestLimits.count`.
        """
        payer, claims = payer_of(principal), self._claims
        if claims is not None:
            self._limits.remember(claims, payer)
            self._claims = None
        if self._exceeded is None or payer != self._expected:
            self._limits.refuse(await self._limits.exceeded(payer))
        else:
            self._limits.refuse(await self._exceeded)
