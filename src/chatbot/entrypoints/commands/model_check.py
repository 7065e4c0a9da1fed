"""The model check of `chatbot doctor`: look the model up in the provider's list, and call it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from chatbot.domain.chat import MessageRole
from chatbot.domain.errors import ModelFailure, ModelTimeout
from chatbot.domain.ports.model import ChatModel, ModelRequest, PromptMessage, Task
from chatbot.domain.ports.provider import ModelProvider
from chatbot.entrypoints.container.model_parts import build_genkit_model, build_provider
from chatbot.entrypoints.model_selection import is_listed, model_name, only_model
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.model import EMBEDDED, EMBEDDED_MODEL
from chatbot.entrypoints.settings.subject import SettingsError

_QUESTION = ModelRequest(
    task=Task.EXTRACT_MEMORY,
    system="Answer with a JSON object.",
    messages=(
        PromptMessage(role=MessageRole.USER, text='Answer with the JSON object {"ok": true}.'),
    ),
    max_output_tokens=0,
)


def describe_model(settings: Settings) -> str:
    """Returns the name of the model that answers, and its peculiarities.

    Raises:
        SettingsError: the model does not answer; the message names the fix.
    """
    name = model_name(settings)
    if name == EMBEDDED_MODEL:
        return EMBEDDED
    provider = build_provider(settings)
    try:
        name, how = _look_up(provider, name)
        quirks = _try_model(settings.with_model(name))
    except ModelFailure as error:
        raise SettingsError(provider.explain(error)) from error
    return f"{name} {how}; asked {quirks}" if quirks else f"{name} {how}"


def _look_up(provider: ModelProvider, name: str | None) -> tuple[str, str]:
    """Returns the model's name and what the provider's list says about it.

    Raises:
        ModelFailure: the provider does not answer, or has no list to choose from.
        SettingsError: the provider does not have the model.
    """
    try:
        served = provider.served_models()
    except ModelFailure as error:
        if name is None or not provider.has_no_list(error):
            raise
        return name, "answers; the provider does not list its models"
    name = name or only_model(served)
    if is_listed(name, served):
        return name, "is served"
    if not served or provider.has_deployments:
        return name, "answers; the provider does not list it"
    names = ", ".join(f"openai/{one}" for one in served)
    raise SettingsError(
        f"GENKIT_MODEL: the provider does not list {name}. Fix: set it to one of: {names}"
    )


def _try_model(settings: Settings) -> str:
    """Call the model with a short prompt; returns the parameters that had to be changed.

    Raises:
        ModelFailure: the model did not answer.
    """
    model = build_genkit_model(settings)
    with ThreadPoolExecutor(1) as pool:  # the caller may be inside an event loop
        pool.submit(asyncio.run, _require_answers(model, settings)).result()
    return model.adapted


async def _require_answers(model: ChatModel, settings: Settings) -> None:
    """Call it in both modes, because each has a parameter that the other lacks."""
    question = replace(_QUESTION, max_output_tokens=settings.model.max_output_tokens)
    try:
        async with asyncio.timeout(settings.model.turn_timeout_s):
            await model.complete(question)
            async for _ in model.stream(replace(question, task=Task.CHAT)):
                pass
    except TimeoutError as error:
        raise ModelTimeout from error
    finally:
        await model.aclose()
