"""Waiting for a session that another turn or change holds."""

import asyncio
from collections.abc import Awaitable, Callable

from chatbot.domain.errors import SessionBusy
from chatbot.domain.ports.storage import Found
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Activity, Telemetry

BUSY_WAIT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.16
"""Between two attempts, doubling: in a database, waiting callers must not slow down the one that
they wait for."""


async def retry_while_busy(
    attempt: Callable[[], Awaitable[Found]], telemetry: Telemetry = NO_TELEMETRY
) -> Found:
    """Acquire a session; retry for up to 5 s while another turn or change holds it.

    Raises:
        SessionBusy: it was still held after 5 s.
    """
    try:
        return await attempt()
    except SessionBusy:
        with telemetry.during(Activity.LEASE_WAIT):
            return await _retry(attempt)


async def _retry(attempt: Callable[[], Awaitable[Found]]) -> Found:
    deadline = asyncio.get_running_loop().time() + BUSY_WAIT_S
    pause_s = _FIRST_PAUSE_S
    while True:
        await asyncio.sleep(pause_s)
        try:
            return await attempt()
        except SessionBusy:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
