"""A share of the model for each owner: what is refused, what waits, and that no state leaks."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from chatbot.adapters.llm.scripted import Script
from chatbot.application import shares
from chatbot.application.turn import ReplyEvent
from chatbot.domain.errors import RateLimited, ShuttingDown
from chatbot.domain.identity import Principal
from conversation import ANA, BEN, NO_MEMORY, ChatApp, by_task, eventually, never


def slow_where_asked_to(*, share: int) -> ChatApp:
    """A model that never ends its answer to prompts that begin with `slow`."""
    answers = by_task(
        chat=lambda r: (
            Script(pause=never)
            if r.messages[-1].text.rpartition("\n")[2].startswith("slow")
            else "ok"
        )
    )
    return ChatApp(answers, rules=NO_MEMORY, max_turns_per_owner=share)


async def under_way(app: ChatApp, count: int) -> list[AsyncGenerator[ReplyEvent]]:
    turns = [app.events(f"slow {number}") for number in range(count)]
    for events in turns:
        await anext(events)
    return turns


async def count_of_sessions(app: ChatApp, who: Principal = ANA) -> int:
    return len((await app.sessions.page(who, limit=50, after=None)).sessions)


async def test_turn_beyond_the_share_is_refused_and_stores_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "WAIT_S", 0.01)
    app = slow_where_asked_to(share=2)
    turns = await under_way(app, 2)
    with pytest.raises(RateLimited) as refused:
        await app.ask("one more")
    assert refused.value.retry_after_s > 0
    assert await count_of_sessions(app) == 2
    for events in turns:
        await events.aclose()
    assert (await app.ask("hello")).text == "ok"


async def test_turn_of_another_user_is_not_delayed() -> None:
    app = slow_where_asked_to(share=2)
    turns = await under_way(app, 2)
    assert (await app.ask("hello", who=BEN)).text == "ok"
    for events in turns:
        await events.aclose()


async def test_turn_waits_briefly_for_another_turn_of_the_same_user() -> None:
    app = slow_where_asked_to(share=1)
    (events,) = await under_way(app, 1)
    waiting = asyncio.create_task(app.ask("hello"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    await events.aclose()
    assert (await waiting).text == "ok"


async def test_turn_beyond_the_waiting_limit_is_refused_at_once() -> None:
    app = slow_where_asked_to(share=1)
    (events,) = await under_way(app, 1)
    waiting = asyncio.create_task(app.ask("hello"))
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await app.ask("and another")
    await events.aclose()
    await waiting


async def test_a_turn_that_waits_for_its_share_is_refused_when_the_service_stops() -> None:
    app = slow_where_asked_to(share=1)
    (events,) = await under_way(app, 1)
    waiting = asyncio.create_task(app.ask("slow, too"))
    await asyncio.sleep(0)
    await app.chat.running.aclose()
    with pytest.raises(ShuttingDown):
        await waiting
    with pytest.raises(ShuttingDown):
        await anext(events)


async def test_shares_of_owners_without_a_turn_are_removed() -> None:
    app = slow_where_asked_to(share=1)
    (events,) = await under_way(app, 1)
    leaving = asyncio.create_task(app.ask("hello"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await events.aclose()
    await app.ask("hello", who=BEN)
    await eventually(lambda: not app.chat.running._shares._shares)
