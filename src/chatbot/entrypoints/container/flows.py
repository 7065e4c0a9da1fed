"""Registers the flows of Genkit's Developer UI."""

from collections.abc import AsyncGenerator, Callable, Coroutine

from chatbot.domain.ports.model import ChatModel

Json = dict[str, object]


def define_flows(
    model: ChatModel | None,
    *,
    chat: Callable[[str, str | None], AsyncGenerator[str | Json]],
    summarize: Callable[[str], Coroutine[None, None, Json]],
    extract_memory: Callable[[str], Coroutine[None, None, Json]],
) -> None:
    """Registers the flows, unless the model is not Genkit's, as in a test.

    Must be called on the application's event loop.
    """
    from chatbot.adapters.llm.genkit_flows import Flows, define_flows  # noqa: PLC0415 - slow
    from chatbot.adapters.llm.genkit_model import GenkitChatModel  # noqa: PLC0415 - slow

    if isinstance(model, GenkitChatModel):
        flows = Flows(chat=chat, summarize=summarize, extract_memory=extract_memory)
        define_flows(model.ai, flows)
