"""Failed log-in attempts, for as long as they count."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from chatbot.domain.ports.counters import Addition, Count, CounterKey, Counters
from chatbot.domain.throttling import WINDOW, AttemptKey, Throttle

ATTEMPTS = "attempts"


class AttemptRepository:
    """Counts the attempts of throttles, to the microsecond."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def count(self, throttles: Sequence[Throttle], *, at: datetime) -> timedelta:
        """Count an attempt in all throttles, or in none if one of them requires a wait.

        Concurrent attempts are counted as if they came one after the other.

        Returns:
            How long to wait; zero if the attempt was counted.
        """
        keys = [_key(throttle.key) for throttle in throttles]
        with self._counters.exclusive(keys) as counters:
            counts = counters.read(keys, now=at)
            wait = max(
                throttle.wait(_moments(counts[key]), at)
                for throttle, key in zip(throttles, keys, strict=True)
            )
            if not wait:
                counters.add(_additions(throttles, at), now=at)
        return wait

    def withdraw(self, throttles: Sequence[Throttle], *, at: datetime) -> None:
        """Withdraw one attempt of this moment from each throttle that has one."""
        self._counters.settle(_additions(throttles, at), (), now=at)

    def clear(self, key: AttemptKey) -> None:
        """Withdraw all attempts of a throttle."""
        self._counters.clear([_key(key)])


def _key(key: AttemptKey) -> CounterKey:
    return CounterKey(ATTEMPTS, key)


def _additions(throttles: Sequence[Throttle], at: datetime) -> list[Addition]:
    return [
        Addition(key=_key(throttle.key), amount=1, expires_at=at + WINDOW) for throttle in throttles
    ]


def _moments(counts: Sequence[Count]) -> list[datetime]:
    return [count.expires_at - WINDOW for count in counts for _ in range(count.amount)]
