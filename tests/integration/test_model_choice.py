"""Which model answers when `GENKIT_MODEL` does not say, and which names are refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatbot.entrypoints.model_selection import with_model_name
from chatbot.entrypoints.settings.model import EMBEDDED_MODEL, OPENAI_MODEL
from chatbot.entrypoints.settings.subject import SettingsError
from provider import FakeProvider, Fault, closed_port_url
from service import settings_for_tests


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        yield running


async def chosen(**given: object) -> str | None:
    settings = settings_for_tests(**given)
    return (await asyncio.to_thread(with_model_name, settings)).model.name


async def test_without_a_provider_the_embedded_model_answers() -> None:
    assert await chosen() == EMBEDDED_MODEL


async def test_openai_itself_has_a_pinned_model() -> None:
    assert await chosen(openai_api_key="k") == OPENAI_MODEL


async def test_only_chat_model_of_another_provider_is_selected(provider: FakeProvider) -> None:
    provider.models = ["text-embedding-fake", "gemini-pro"]
    assert await chosen(openai_base_url=provider.base_url) == "openai/gemini-pro"


@pytest.mark.parametrize(
    ("models", "named"), [(["a", "b-pro"], "openai/a, openai/b-pro"), ([], "none")]
)
async def test_several_models_or_none_are_refused_with_the_list(
    provider: FakeProvider, models: list[str], named: str
) -> None:
    provider.models = models
    with pytest.raises(SettingsError, match=rf"GENKIT_MODEL: .*: {named}$"):
        await chosen(openai_base_url=provider.base_url)


async def test_provider_with_an_empty_model_list_is_reported_with_the_fix(
    provider: FakeProvider,
) -> None:
    provider.fault = Fault.UNAUTHENTICATED
    for base_url in (provider.base_url, closed_port_url()):
        with pytest.raises(SettingsError, match=r"OPENAI_BASE_URL: .*GENKIT_MODEL"):
            await chosen(openai_base_url=base_url)


@pytest.mark.parametrize("name", ["llama3.2", "foo/bar", "openai/", "openai/text-embedding-3"])
async def test_invalid_model_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"GENKIT_MODEL: .* is not a chat model"):
        await chosen(genkit_model=name, openai_api_key="k")


async def test_name_that_needs_a_provider_is_refused_without_one() -> None:
    with pytest.raises(SettingsError, match=r"GENKIT_MODEL: .* needs OPENAI_API_KEY"):
        await chosen(genkit_model="openai/gpt-4.1-mini")
