"""Whatever happens to rights, people and documents: each reads what the rule says, and nothing tells
that there is anything else.

In CI Hypothesis draws the same each time. `CHATBOT_TEST_EXAMPLES=200` looks for more.
"""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from document_calls import Library
from provider import FakeProvider
from rights_town import PEOPLE, Step, Town, histories, played, serving_town

EXAMPLES = int(os.environ.get("CHATBOT_TEST_EXAMPLES", "8"))
PHASES = (Phase.explicit, Phase.generate)
"""A history takes a second: to shrink one takes minutes."""
MODEL = "openai/bge-m3"
OBSERVERS = ("ana", "eva", "chief")


@settings(max_examples=EXAMPLES, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_each_person_reads_what_the_rule_says(history: list[Step]) -> None:
    async def run() -> None:
        async with serving_town() as service:
            town = Town(Library(service))
            await played(town, history)
            for name in PEOPLE:
                await town.check(name)

    asyncio.run(run())


@settings(max_examples=EXAMPLES, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.sampled_from(OBSERVERS))
def test_nothing_tells_that_forbidden_documents_exist(history: list[Step], observer: str) -> None:
    asyncio.run(compare(history, observer))


@settings(
    max_examples=max(1, EXAMPLES // 2), phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
)
@given(histories, st.sampled_from(OBSERVERS))
def test_nothing_tells_of_their_vectors_either(history: list[Step], observer: str) -> None:
    async def run() -> None:
        async with FakeProvider() as provider:
            given = {"embedding_model": MODEL, "embedding_base_url": provider.base_url}
            await compare(history, observer, memory_recall="off", **given)

    asyncio.run(run())


async def compare(history: list[Step], observer: str, **given: object) -> None:
    """Play the history with all documents, and without those that the observer may not read."""
    async with serving_town(**given) as one, serving_town(**given) as two:
        full = Town(Library(one))
        await played(full, history)
        readable = full.world.readable(observer)
        numbers = {n for n, paper in enumerate(full.made) if paper in readable}
        poor = Town(Library(two), only=numbers)
        await played(poor, history)
        if not (await full.sign_in(observer) and await poor.sign_in(observer)):
            return
        hidden = [paper.id for paper in full.world.papers if paper not in readable][:3]
        unknown = [f"{n:032x}" for n in range(len(hidden))]
        mine = [paper.id for paper in readable][:3]
        theirs = [paper.id for paper in poor.world.readable(observer)][:3]
        seen = await full.seen_by(observer, [*mine, *hidden])
        assert seen == await poor.seen_by(observer, [*theirs, *unknown])


@pytest.mark.parametrize("observer", OBSERVERS)
def test_differential_test_sees_a_document_that_is_not_hidden(observer: str) -> None:
    """The comparison can fail: with one readable document more, the answers differ."""

    async def run() -> None:
        history: list[Step] = [
            ("upload", "admin", {"public": True}, [], ["otter"]),
            ("upload", "admin", {"public": True}, [], ["otter", "lynx"]),
        ]
        async with serving_town() as one, serving_town() as two:
            full, poor = Town(Library(one)), Town(Library(two), only={0})
            await played(full, history)
            await played(poor, history)
            assert await full.seen_by(observer, []) != await poor.seen_by(observer, [])

    asyncio.run(run())
