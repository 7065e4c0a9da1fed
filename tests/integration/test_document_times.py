"""How long an answer takes does not tell whether there are documents that the caller may not read.

In CI with few calls; `CHATBOT_TEST_EXAMPLES=400` makes more.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from math import erf, sqrt

import pytest

from canaries import plant_document
from chatbot.domain.documents import Access
from chatbot.domain.identity import UserId
from chatbot.domain.transaction import Transaction
from document_calls import Library, serving_documents

CALLS = int(os.environ.get("CHATBOT_TEST_EXAMPLES", "40"))
FORBIDDEN = 400
STRANGER = UserId("5" * 32)


def p_value(one: Sequence[float], two: Sequence[float]) -> float:
    """That of the Mann-Whitney test, two-sided, by its normal approximation."""
    ranks = {value: rank for rank, value in enumerate(sorted([*one, *two]), 1)}
    u = sum(ranks[value] for value in one) - len(one) * (len(one) + 1) / 2
    mean = len(one) * len(two) / 2
    deviation = sqrt(mean * (len(one) + len(two) + 1) / 6)
    return 1 - erf(abs(u - mean) / deviation / sqrt(2))


def test_p_value_tells_times_apart() -> None:
    same = [float(n) for n in range(0, 100, 2)], [float(n) for n in range(1, 100, 2)]
    assert p_value(*same) > 0.5
    assert p_value([n / 100 for n in range(50)], [n / 100 + 0.3 for n in range(50)]) < 0.001


def forbid(tx: Transaction) -> None:
    """Documents of another person that match the search better than anything else."""
    for number in range(FORBIDDEN):
        plant_document(
            tx,
            STRANGER,
            f"otter {number}",
            access=Access(users=(STRANGER,)),
            number=1000 + number,
            passages=4,
        )


@pytest.mark.parametrize("call", ["search", "list", "unknown"])
async def test_times_do_not_tell(call: str) -> None:
    """Calls to a service with forbidden documents and to one without take turns."""
    async with serving_documents() as full, serving_documents() as poor:
        for library in (full, poor):
            await library.ready("ana", "The otter swims.")
        await full.service.use.storage.transact(forbid)
        times: dict[str, list[float]] = {"full": [], "poor": []}
        for turn in range(CALLS + 5):
            order = [("full", full), ("poor", poor)]
            for name, library in order if turn % 2 else reversed(order):
                began = time.perf_counter()
                await asked(library, call)
                if turn >= 5:
                    times[name].append(time.perf_counter() - began)
    found = p_value(times["full"], times["poor"])
    ratio = statistics.median(times["full"]) / statistics.median(times["poor"])
    assert found > 0.001 or 0.9 < ratio < 1.1, (found, ratio)


async def asked(library: Library, call: str) -> None:
    await asyncio.sleep(0)
    if call == "search":
        assert len(await library.search("ana", "otter")) == 1
    elif call == "list":
        assert len(await library.titles("ana")) == 1
    else:
        answer = await library.call("ana", "GET", f"/documents/{f'1000{STRANGER}'[:32]}")
        assert answer.status_code == 404
