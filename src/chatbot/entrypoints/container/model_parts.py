"""Builds the model, and the prompts that it gets.

What is slow to import is imported where it is built: genkit takes seconds, and most commands need no
model.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine

from chatbot.adapters.llm.resilience import Backoff, WithRetries, WithTimeouts
from chatbot.adapters.llm.slots import WithSlots
from chatbot.adapters.llm.thinking import WithoutThinking
from chatbot.application.metering import MeteredModel
from chatbot.application.prompt import PromptBuilder
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.provider import ModelProvider
from chatbot.domain.ports.telemetry import Telemetry
from chatbot.entrypoints.container.parts import random_id
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.model import EMBEDDED_MODEL
from chatbot.entrypoints.settings.subject import SettingsError

Json = dict[str, object]


def build_provider(settings: Settings) -> ModelProvider:
    from chatbot.adapters.llm.openai_provider import OpenAIProvider  # noqa: PLC0415 - as below

    return OpenAIProvider(
        transport=settings.model.transport,
        base_url=settings.model.base_url,
        api_key=settings.model.raw_api_key,
        connect_timeout_s=settings.model.connect_timeout_s,
    )


def build_genkit_model(settings: Settings) -> ChatModel:
    from chatbot.adapters.llm.genkit_model import GenkitChatModel  # noqa: PLC0415 - slow
    from chatbot.adapters.llm.provider import build_genkit  # noqa: PLC0415 - slow
    from chatbot.adapters.llm.quirks import Quirks  # noqa: PLC0415 - slow

    try:
        ai = build_genkit(
            transport=settings.model.transport,
            api_key=settings.model.raw_api_key,
            base_url=settings.model.base_url,
            connect_timeout_s=settings.model.connect_timeout_s,
            turn_timeout_s=settings.model.turn_timeout_s,
            quirks=Quirks(
                max_tokens_field=settings.model.max_tokens_field,
                system_role=settings.model.system_role,
            ),
        )
    except ModelUnavailable as error:
        raise SettingsError(str(error)) from error
    name = settings.model.name or EMBEDDED_MODEL
    return GenkitChatModel(
        ai,
        name,
        temperature=settings.model.temperature,
        reasoning_effort=settings.model.reasoning_effort,
    )


def define_flows(
    model: ChatModel | None,
    *,
    chat: Callable[[str, str | None], AsyncGenerator[str | Json]],
    summarize: Callable[[str], Coroutine[None, None, Json]],
    extract_memory: Callable[[str], Coroutine[None, None, Json]],
) -> None:
    """Registers the flows of Genkit's Developer UI, unless the model is not Genkit's.

    Must be called on the application's event loop.
    """
    from chatbot.adapters.llm.genkit_flows import Flows, define_flows  # noqa: PLC0415 - slow
    from chatbot.adapters.llm.genkit_model import GenkitChatModel  # noqa: PLC0415 - slow

    if isinstance(model, GenkitChatModel):
        flows = Flows(chat=chat, summarize=summarize, extract_memory=extract_memory)
        define_flows(model.ai, flows)


def build_model(
    settings: Settings,
    genkit_model: ChatModel,
    telemetry: Telemetry,
    prompt_builder: PromptBuilder,
) -> ChatModel:
    thinks = settings.model.strip_thinking and genkit_model.name != EMBEDDED_MODEL
    model = WithoutThinking(genkit_model) if thinks else genkit_model
    first_token_s, turn_s = settings.model.first_token_timeout_s, settings.model.turn_timeout_s
    backoff = Backoff(sleep=asyncio.sleep, random=random.random, on_retry=telemetry.count_retry)
    timed = WithTimeouts(
        WithRetries(model, backoff),
        first_token_s=first_token_s,
        idle_s=settings.model.idle_timeout_s,
        turn_s=turn_s,
    )
    from chatbot.adapters.llm.network import OPENAI_URL  # noqa: PLC0415 - slow

    is_embedded = genkit_model.name == EMBEDDED_MODEL
    base_url = None if is_embedded else settings.model.base_url or OPENAI_URL
    reported = telemetry.model(timed, base_url, settings.model.temperature)
    metered = MeteredModel(reported, prompt_builder.estimator)
    return WithSlots(
        metered, max_concurrent=settings.model.max_concurrent, wait_s=min(first_token_s, turn_s)
    )


def build_prompt_builder(settings: Settings) -> PromptBuilder:
    return PromptBuilder(
        assistant_name=settings.assistant.name,
        company_instructions=settings.assistant.instructions,
        language=settings.assistant.language,
        window=settings.memory.window_messages,
        threshold=settings.memory.summarize_threshold,
        context_tokens=settings.model.context_tokens,
        max_output_tokens=settings.model.max_output_tokens,
        new_id=random_id,
    )
