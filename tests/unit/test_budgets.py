"""Budgets of tokens: what is reserved, refused and billed, as the use cases do it."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest

from chatbot.adapters.llm.scripted import Script
from chatbot.application import limit_rules
from chatbot.domain.chat import FinishReason
from chatbot.domain.errors import BudgetExhausted, ModelTimeout, ModelUnavailable, RateLimited
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.ports.model import Completion, ModelRequest, Usage
from chatbot.domain.quotas import Period
from chatbot.domain.usage import USAGE, Dimension, Used, summed, usage_rows
from conversation import ANA, BEN, NO_MEMORY, RULES, START, ChatApp, by_task, eventually, never

FAR = START - timedelta(days=1)


def tokens(limit: int, **given: object) -> Limit:
    values: dict[str, object] = {
        "id": "monthly",
        "subject": Subject.EVERYONE,
        "kind": LimitKind.TOKENS,
        "per": Period.MONTH,
        "limit": limit,
    }
    return Limit(**(values | given))  # type: ignore[arg-type] # as above


async def limited(app: ChatApp, *limits: Limit) -> None:
    for each in limits:
        await app.storage.transact(lambda tx, new=each: tx.limits.put(new, old=None))  # type: ignore[misc] # a default
    app.limit_rules.forget()


async def held(app: ChatApp, kind: str = "budget") -> int:
    found = await app.storage.transact(lambda tx: tx.counters.scan(kind, "", now=FAR))
    return sum(found.values())


async def usage(app: ChatApp) -> Used:
    found = await app.storage.transact(lambda tx: tx.counters.scan(USAGE, "", now=FAR))
    total = summed(list(usage_rows(found)), Dimension.CLIENT)
    return sum(total.values(), Used())


def answer(text: str = "ok", *, given: int = 100, made: int = 20) -> Completion:
    counted = Usage(input_tokens=given, output_tokens=made)
    return Completion(text=text, finish_reason=FinishReason.STOP, usage=counted)


async def test_turn_costs_what_the_provider_reports() -> None:
    app = ChatApp([answer()], rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    await app.ask("hello")
    assert await held(app) == 120
    assert await usage(app) == Used(requests=1, turns=1, input_tokens=100, output_tokens=20)


async def test_turn_costs_an_estimate_where_the_provider_reports_nothing() -> None:
    app = ChatApp(["an answer"], rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    reply = await app.ask("hello")
    used = await usage(app)
    assert used.tokens == used.estimated_tokens == await held(app)
    assert (used.input_tokens, used.output_tokens) == (
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )


async def reserved() -> int:
    """The tokens that are reserved for a turn with a short prompt."""
    app = ChatApp(lambda _: Script(pause=never), rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    async with aclosing(app.events("hello")) as events:
        await anext(events)
        return await held(app)


async def test_while_the_model_answers_its_largest_answer_is_reserved() -> None:
    app = ChatApp(lambda _: Script(pause=never), rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    events = app.events("hello")
    await anext(events)
    most = await held(app)
    assert most > RULES.max_output_tokens
    await eventually(app.asked)
    await events.aclose()
    assert 0 < await held(app) < most


async def test_turn_that_the_budget_does_not_cover_is_refused_and_stores_nothing() -> None:
    app = ChatApp([answer(given=400, made=200)] * 9, rules=NO_MEMORY)
    await limited(app, tokens(await reserved() + 50))
    reply = await app.ask("hello")
    with pytest.raises(BudgetExhausted, match="monthly") as refused:
        await app.ask("hello")
    assert refused.value.retry_after_s == pytest.approx(30.6 * 24 * 3600, rel=0.02)
    with pytest.raises(BudgetExhausted):
        await app.ask("hello", reply.session_id)
    listed = await app.sessions.page(ANA, limit=9, after=None)
    assert [each.message_count for each in listed.sessions] == [2]
    assert len(app.model.requests) == 1
    assert await held(app) == 600, "nothing stays reserved"


async def test_budget_of_zero_refuses_every_turn() -> None:
    app = ChatApp([], rules=NO_MEMORY)
    await limited(app, tokens(0))
    with pytest.raises(BudgetExhausted):
        await app.ask("hello")


async def test_parallel_turns_never_overspend() -> None:
    app = ChatApp(lambda _: answer(given=300, made=700), rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    outcomes = await asyncio.gather(*(app.ask("hello") for _ in range(40)), return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, BudgetExhausted)]
    assert refused
    assert len(refused) + (await held(app)) // 1000 == 40
    assert await held(app) <= 10_000


async def test_each_matching_limit_holds_and_others_do_not_apply() -> None:
    app = ChatApp([answer()] * 9, rules=NO_MEMORY)
    await limited(
        app,
        tokens(100_000),
        tokens(1, id="other-model", model="openai/other"),
        tokens(1, id="other-client", subject=Subject.CLIENT, name="nobody"),
        tokens(1, id="some-role", subject=Subject.ROLE, name="auditor"),
        tokens(1, id="a-department", subject=Subject.DEPARTMENT, name="sales"),
        tokens(1, id="a-person", subject=Subject.USER, name="u"),
    )
    await app.ask("hello")
    await limited(app, tokens(1, id="daily", per=Period.DAY, model=app.model.name))
    with pytest.raises(BudgetExhausted, match="daily"):
        await app.ask("hello")


async def test_limit_of_everyone_is_for_each_and_that_of_a_client_for_all_together() -> None:
    app = ChatApp([answer()] * 9, rules=NO_MEMORY)
    await limited(app, tokens(await reserved() + 50))
    await app.ask("hello")
    await app.ask("hello", who=BEN)
    with pytest.raises(BudgetExhausted):
        await app.ask("hello", who=BEN)


async def test_cut_answer_is_billed_with_its_prompt_and_what_had_arrived() -> None:
    app = ChatApp(lambda _: Script(pieces=("one ", "two"), pause=never), rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    events = app.events("hello")
    async for event in events:
        if "two" in getattr(event, "text", ""):
            break
    await events.aclose()
    used = await usage(app)
    assert used.turns == used.requests == 1
    assert used.input_tokens > 0
    assert used.output_tokens > 0
    assert used.estimated_tokens == used.tokens == await held(app)


@pytest.mark.parametrize(
    ("failure", "is_billed"), [(ModelTimeout(), True), (ModelUnavailable(), False)]
)
async def test_failed_call_is_billed_if_it_reached_the_provider(
    failure: Exception, is_billed: bool
) -> None:
    app = ChatApp(lambda _: failure, rules=NO_MEMORY)  # type: ignore[arg-type,return-value] # a model failure
    await limited(app, tokens(10_000))
    with pytest.raises(type(failure)):
        await app.ask("hello")
    assert (await held(app) > 0) is is_billed
    assert (await usage(app)).turns == 1


async def test_stream_that_ends_is_billed_once() -> None:
    app = ChatApp([answer("one two three")], rules=NO_MEMORY)
    await app.ask("hello", stream=True)
    assert await usage(app) == Used(requests=1, turns=1, input_tokens=100, output_tokens=20)


async def test_memory_is_billed_to_the_owner_of_the_session() -> None:
    app = ChatApp(
        by_task(chat=lambda _: answer(), extract=lambda _: answer("{}", given=1000, made=3)),
    )
    await limited(app, tokens(100_000))
    reply = await app.ask("My name is Ana.")
    await app.consolidation.wait_for(ANA.owner, reply.session_id)
    assert await held(app) == 120 + 1003
    assert await usage(app) == Used(requests=2, turns=1, input_tokens=1100, output_tokens=23)


async def test_memory_beyond_the_budget_is_left_for_later() -> None:
    app = ChatApp(
        by_task(
            chat=lambda _: answer(given=400, made=200),
            extract=lambda _: answer("{}", given=1000, made=3),
        ),
    )
    await limited(app, tokens(await reserved() + 50))
    reply = await app.ask("My name is Ana.")
    await app.consolidation.wait_for(ANA.owner, reply.session_id)
    assert await held(app) == 600
    await app.storage.transact(
        lambda tx: tx.limits.put(tokens(90_000), old=tx.limits.get("monthly"))
    )
    app.limit_rules.forget()
    await app.ask("And I live in Cádiz.", reply.session_id)
    await app.consolidation.wait_for(ANA.owner, reply.session_id)
    assert await held(app) >= 1200 + 1003


async def test_more_answers_at_once_than_allowed_are_refused() -> None:
    app = ChatApp(
        lambda r: Script(pause=never) if "slow" in r.messages[-1].text else answer(),
        rules=NO_MEMORY,
    )
    await limited(app, tokens(1, kind=LimitKind.STREAMS, per=None))
    events = app.events("slow")
    await anext(events)
    with pytest.raises(RateLimited) as refused:
        await app.ask("hello")
    assert not isinstance(refused.value, BudgetExhausted)
    await app.ask("hello", who=BEN)
    await events.aclose()
    await app.ask("hello")


async def test_reservation_of_a_process_that_died_expires() -> None:
    app = ChatApp(lambda _: Script(pause=never), rules=NO_MEMORY)
    await limited(app, tokens(await reserved() + 50))
    events = app.events("hello")
    await anext(events)
    survivor = ChatApp([answer()], rules=NO_MEMORY, storage=app.storage)
    await limited(survivor)
    with pytest.raises(BudgetExhausted):
        await survivor.ask("hello")
    for _ in range(300):
        survivor.budgets._clock()  # each look at this clock lets a second pass
    await survivor.ask("hello")
    await events.aclose()


async def test_changed_limit_holds_after_five_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = ChatApp([answer()] * 9, rules=NO_MEMORY)
    await app.ask("hello")
    await app.storage.transact(lambda tx: tx.limits.put(tokens(0), old=None))
    await app.ask("hello")
    monkeypatch.setattr(limit_rules, "KEPT_S", 0.0)
    with pytest.raises(BudgetExhausted):
        await app.ask("hello")


def refuses_second(request: ModelRequest) -> Completion:
    """A provider that blocks a prompt with an earlier answer in it."""
    if len(request.messages) == 1:
        return answer()
    counted = Usage(input_tokens=400, output_tokens=0)
    return Completion(text="", finish_reason=FinishReason.BLOCKED, usage=counted)


async def test_prompt_that_is_sent_again_costs_each_time() -> None:
    app = ChatApp(refuses_second, rules=NO_MEMORY)
    await limited(app, tokens(10_000))
    first = await app.ask("hello")
    await app.ask("hello", first.session_id)
    assert await usage(app) == Used(
        requests=3, turns=2, input_tokens=600, output_tokens=40, estimated_tokens=0
    )
    assert await held(app) == 640


async def test_prompt_is_not_sent_again_beyond_the_budget() -> None:
    app = ChatApp(refuses_second, rules=NO_MEMORY)
    first = await app.ask("hello")
    await limited(app, tokens(1650))
    with pytest.raises(BudgetExhausted) as refused:
        await app.ask("hello", first.session_id)
    assert refused.value.session_id == first.session_id
    assert await held(app) == 400
    assert len(app.model.requests) == 2
