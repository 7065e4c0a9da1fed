"""Calls of a model, streamed or not, over both transports, for the `ChatModel` suites."""

from contextlib import aclosing

from chatbot.adapters.llm.provider import ChatGenkit, TransportName, build_genkit
from chatbot.domain.chat import MessageRole
from chatbot.domain.ports.model import (
    ChatModel,
    Completion,
    ModelRequest,
    PromptMessage,
    Task,
)

TRANSPORTS: tuple[TransportName, ...] = ("aiohttp", "sdk")
MODES = ("complete", "stream")


def ask(
    text: str = "one two three", *, task: Task = Task.CHAT, history: tuple[str, ...] = ()
) -> ModelRequest:
    roles = (MessageRole.USER, MessageRole.ASSISTANT)
    said = [PromptMessage(role=roles[i % 2], text=t) for i, t in enumerate((*history, text))]
    return ModelRequest(task=task, system="Be kind.", messages=tuple(said), max_output_tokens=77)


async def collect(model: ChatModel, request: ModelRequest) -> tuple[list[str], Completion]:
    *pieces, last = [piece async for piece in model.stream(request)]
    assert isinstance(last, Completion)
    return [piece for piece in pieces if isinstance(piece, str)], last


async def answer(model: ChatModel, mode: str, pieces: list[str] | None = None) -> Completion:
    """Ask for an answer, streamed or not; `pieces` receives the streamed pieces."""
    if mode == "complete":
        return await model.complete(ask())
    async with aclosing(model.stream(ask())) as stream:
        async for piece in stream:
            if isinstance(piece, Completion):
                return piece
            if pieces is not None:
                pieces.append(piece)
    raise AssertionError("The generator ended without its completion.")


def build(
    transport: TransportName,
    base_url: str,
    *,
    turn_timeout_s: float = 60,
    connect_timeout_s: float = 3,
) -> ChatGenkit:
    return build_genkit(
        transport=transport,
        api_key="sk-ours",
        base_url=base_url,
        connect_timeout_s=connect_timeout_s,
        turn_timeout_s=turn_timeout_s,
    )
