"""The whole service with an embedding model over HTTP: what is found, and what its failures cost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chatbot.domain.identity import Owner
from chatbot.domain.ports.model import ModelRequest
from chatbot.domain.search import messages_scope
from document_calls import Library, serving_documents
from provider import FakeProvider, Fault, Raw, closed_port_url

EVERYONE = {"public": True}
DAYS_OFF = "Everybody gets 23 days off each summer."
DOGS = "Dogs may come to the office on Fridays."
PAY = "The payroll closes on the 25th."
MODEL = "openai/bge-m3"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def library(upstream: FakeProvider) -> AsyncIterator[Library]:
    async with serving_documents(**at(upstream.base_url)) as library:
        yield library


def at(base_url: str, **more: Any) -> dict[str, Any]:
    return {"embedding_model": MODEL, "embedding_base_url": base_url, **more}


def sent(upstream: FakeProvider) -> list[str]:
    return [text for each in upstream.requests for text in each.body["input"]]


async def found(library: Library, query: str, who: str = "ana") -> list[str]:
    answer = await library.call(who, "POST", "/search", json={"query": query})
    return [each["text"] for each in answer.raise_for_status().json()["passages"]]


async def ask(library: Library, prompt: str, **more: Any) -> str:
    """Ask in a new session, and return its id."""
    answer = await library.call("ana", "POST", "/chat", json={"prompt": prompt, **more})
    return str(answer.raise_for_status().json()["session_id"])


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        for _ in range(4000):
            if await is_so():
                return
            await asyncio.sleep(0.005)
    raise AssertionError("It has not become so.")


def has_vectors(library: Library, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether so many of Ana's messages have vectors."""
    scope = messages_scope(Owner(kind="user", id=library.ids["ana"]))

    async def is_so() -> bool:
        storage = library.service.use.storage
        there = await storage.transact(lambda tx: tx.index.vectors_of(scope, MODEL))
        return sum(map(len, there.values())) == count

    return is_so


async def test_a_question_finds_paraphrases_also_in_another_language(
    library: Library,
) -> None:
    for text in (DAYS_OFF, DOGS, PAY):
        await library.ready("ana", text, access=EVERYONE)
    assert (await found(library, "¿Cuántas vacaciones tengo?"))[:1] == [DAYS_OFF]
    assert (await found(library, "¿Cuándo llega el sueldo?"))[:1] == [PAY]
    assert (await found(library, "perros"))[:1] == [DOGS]


async def test_the_prompt_of_a_turn_holds_what_is_meant(upstream: FakeProvider) -> None:
    prompts: list[str] = []

    def answer(request: ModelRequest) -> str:
        prompts.append("\n".join(request.texts))
        return "Of course."

    async with serving_documents(answer=answer, **at(upstream.base_url)) as library:
        for text in (DAYS_OFF, DOGS, PAY):
            await library.ready("ana", text, access=EVERYONE)
        await ask(library, "I bought a red car yesterday")
        await until(has_vectors(library, 2))
        await ask(library, "¿Cuántas vacaciones tengo?")
        await ask(library, "¿Y el automóvil?")
        await ask(library, "Quod erat demonstrandum")
    _, about_leave, about_cars, about_nothing = prompts
    assert DAYS_OFF in about_leave
    assert DOGS not in about_leave
    assert "I bought a red car yesterday" in about_cars
    assert not any(text in about_nothing for text in (DAYS_OFF, DOGS, PAY, "red car"))


async def test_without_a_model_only_words_find_it(upstream: FakeProvider) -> None:
    async with serving_documents() as library:
        await library.ready("ana", DAYS_OFF, access=EVERYONE)
        assert await found(library, "¿Cuántas vacaciones tengo?") == []
        assert await found(library, "days off") == [DAYS_OFF]
    assert not upstream.requests


async def test_nothing_forbidden_is_found_by_its_meaning(library: Library) -> None:
    await library.ready("eva", DAYS_OFF, access={"departments": ["HR"]})
    await library.ready("ana", DOGS, access=EVERYONE)
    assert DAYS_OFF not in await found(library, "vacaciones")
    assert (await found(library, "vacaciones", "eva"))[:1] == [DAYS_OFF]


async def test_a_provider_that_is_down_at_the_start_costs_only_the_meaning() -> None:
    async with serving_documents(**at(closed_port_url())) as library:
        await library.ready("ana", DAYS_OFF, access=EVERYONE)
        assert await found(library, "days off") == [DAYS_OFF]
        await ask(library, "How many days off do I get?")


@pytest.mark.parametrize(
    "fault",
    [
        Fault.UNAUTHENTICATED,
        Fault.NOT_FOUND,
        Fault.RATE_LIMITED,
        Fault.SERVER_ERROR,
        Fault.GARBAGE,
        Fault.SILENT,
    ],
)
async def test_a_provider_that_fails_later_costs_only_the_meaning(
    upstream: FakeProvider, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    hasty = at(upstream.base_url, embedding_timeout_seconds=0.3)
    async with serving_documents(**hasty) as library:
        await library.ready("ana", DAYS_OFF, access=EVERYONE)
        if fault is Fault.GARBAGE:
            upstream.raw = lambda _: Raw(pieces=[b"<html>"], content_type="text/html")
        else:
            upstream.fault = fault
        assert await found(library, "days off, please") == [DAYS_OFF]
        await ask(library, "How many days off do I get, please?")
    assert "Only words are searched for" in caplog.text
    assert "please" not in caplog.text


async def test_vectors_of_the_wrong_number_or_length_cost_only_the_meaning(
    library: Library, upstream: FakeProvider
) -> None:
    await library.ready("ana", DAYS_OFF, access=EVERYONE)
    upstream.raw = lambda _: Raw(pieces=[b'{"data": []}'], content_type="application/json")
    assert await found(library, "days off, please") == [DAYS_OFF]
    upstream.raw, upstream.dimension = (lambda _: None), 32
    assert await found(library, "days off, now") == [DAYS_OFF]


async def test_a_document_that_the_provider_refuses_is_published_with_its_words(
    library: Library, upstream: FakeProvider
) -> None:
    upstream.fault = Fault.BAD_REQUEST
    await library.ready("ana", DAYS_OFF, access=EVERYONE)
    upstream.fault = None
    assert await found(library, "days off") == [DAYS_OFF]


async def test_a_document_gets_its_vectors_once_the_provider_is_back(
    library: Library, upstream: FakeProvider
) -> None:
    upstream.fault = Fault.UNAUTHENTICATED
    await library.ready("ana", DAYS_OFF, access=EVERYONE)
    upstream.fault = None

    async def is_found() -> bool:
        return await found(library, "vacaciones") == [DAYS_OFF]

    await until(is_found)


async def test_messages_of_a_turn_are_embedded_after_it(
    library: Library, upstream: FakeProvider
) -> None:
    await ask(library, "My dog is called Luna")
    await until(has_vectors(library, 2))
    assert sorted(sent(upstream)) == ["My dog is called Luna", "Of course."]


@pytest.mark.parametrize("change", [{"enabled": False}, {"cross_session": False}])
async def test_people_who_switch_recall_off_cause_no_call(
    library: Library, upstream: FakeProvider, change: dict[str, bool]
) -> None:
    body = {"enabled": True, "cross_session": True, "extract": True, **change}
    (await library.call("ana", "PUT", "/me/memory/settings", json=body)).raise_for_status()
    await ask(library, "My dog is called Luna")
    await library.service.use.embeddings.drain()
    assert not upstream.requests


@pytest.mark.parametrize(
    "given", [{"memory_recall": "off"}, {"memory_recall": "items"}, {"memory_default": "off"}]
)
async def test_a_service_that_recalls_no_messages_embeds_none(
    upstream: FakeProvider, given: dict[str, str]
) -> None:
    async with serving_documents(**at(upstream.base_url, **given)) as library:
        await ask(library, "My dog is called Luna")
        await library.service.use.embeddings.drain()
    assert not upstream.requests


async def test_a_slow_provider_delays_no_turn(library: Library, upstream: FakeProvider) -> None:
    upstream.fault = Fault.SILENT
    async with asyncio.timeout(3):
        for number in range(3):
            await ask(library, f"My dog number {number}")


async def test_a_question_is_embedded_once_for_all_that_its_turn_searches(
    library: Library, upstream: FakeProvider
) -> None:
    await library.ready("ana", DAYS_OFF, access=EVERYONE)
    await ask(library, "I like my dog")
    await until(has_vectors(library, 2))
    question = "When can I take my vacaciones?"
    await ask(library, question)
    inputs = [each.body["input"] for each in upstream.requests]
    assert [each for each in inputs if each == [question]] == [[question]]
