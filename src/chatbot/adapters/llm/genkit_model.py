"""A language model behind Genkit.

The model's action is run, never `ai.generate`: that one does not raise when the provider fails,
and reads prompts as templates. Only typed messages go in.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from genkit import (
    FinishReason as GenkitFinishReason,
)
from genkit import (
    Message,
    ModelResponse,
    ModelResponseChunk,
    ModelUsage,
    Part,
    Role,
)
from genkit import ModelRequest as GenkitRequest
from genkit.plugin_api import Action
from genkit_openai.typing import OpenAIConfig

from chatbot.adapters.llm.diagnosis import CUT, UNUSABLE, model_failure, unknown_model
from chatbot.adapters.llm.provider import ChatGenkit
from chatbot.domain.chat import Author, FinishReason
from chatbot.domain.errors import ModelError, ModelUnavailable
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Task, Usage
from chatbot.domain.text import made_sound

_ODD_TOKENS = 1e9  # nor is NaN below it: such counts are not believed

_ROLES = {Author.USER: Role.USER, Author.ASSISTANT: Role.MODEL}
_FINISH_REASONS = {
    GenkitFinishReason.STOP: FinishReason.STOP,
    GenkitFinishReason.LENGTH: FinishReason.LENGTH,
    GenkitFinishReason.BLOCKED: FinishReason.BLOCKED,
}

# The plug-in's own class: Genkit would turn another one into dicts and back.
_PROVIDER_REQUEST = GenkitRequest[OpenAIConfig]

OnChunk = Callable[[ModelResponseChunk], None]


class GenkitChatModel(ChatModel):
    """Any chat model that Genkit knows by name."""

    def __init__(self, ai: ChatGenkit, name: str, *, temperature: float | None) -> None:
        self.name = name
        self.ai = ai
        self._temperature = temperature
        self._is_embedded = name.startswith("local/")
        self._action: Action | None = None

    async def complete(self, request: ModelRequest) -> Completion:
        return await self._run(request, None)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        """Run the action in a task of its own, so that leaving ends the upstream call at once."""
        unread: list[str] = []
        news = asyncio.Event()

        def on_chunk(chunk: ModelResponseChunk) -> None:
            unread.append(made_sound(chunk.text))
            news.set()

        running = asyncio.create_task(self._run(request, on_chunk))
        running.add_done_callback(lambda _: news.set())
        started = False
        try:
            while not running.done() or unread:
                await news.wait()
                news.clear()
                piece = "".join(unread)
                unread.clear()
                if piece:
                    started = True
                    yield piece
            yield await running
        except ModelUnavailable as error:
            if started:  # a connection that is lost now has cut an answer
                raise ModelError(CUT) from error
            raise
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def warm_up(self) -> None:
        """Resolve the action: the plug-in then makes the JSON schemas of all its models."""
        await self._resolve()

    async def aclose(self) -> None:
        await self.ai.aclose()

    async def _resolve(self) -> Action:
        if self._action is None:
            self._action = await self.ai.registry.resolve_model(self.name)
        if self._action is None:
            raise unknown_model(self.name)
        return self._action

    async def _run(self, request: ModelRequest, on_chunk: OnChunk | None) -> Completion:
        action = await self._resolve()
        try:
            answer = await action.run(self._genkit_request(request), on_chunk=on_chunk)
        except Exception as error:
            raise model_failure(error) from error
        completion = _completion(answer.response)
        # The embedded model may find nothing to say of a talk; a provider's silence is a failure,
        # which the plug-in sees in a whole answer but not in a stream.
        silent = not completion.text and completion.finish_reason is FinishReason.STOP
        if silent and not self._is_embedded:
            raise ModelError(UNUSABLE)
        return completion

    def _genkit_request(self, request: ModelRequest) -> GenkitRequest[Any]:
        messages = [_message(_ROLES[m.role], m.text) for m in request.messages]
        if request.system:
            messages.insert(0, _message(Role.SYSTEM, request.system))
        if self._is_embedded:
            return GenkitRequest(messages=messages, config={"task": request.task.value})
        return _PROVIDER_REQUEST.model_construct(messages=messages, config=self._config(request))

    def _config(self, request: ModelRequest) -> OpenAIConfig:
        """The plug-in renames `max_tokens` for models that want it renamed."""
        config = OpenAIConfig(max_tokens=request.max_output_tokens, temperature=self._temperature)
        if request.task is Task.EXTRACT_MEMORY:
            config.response_format = {"type": "json_object"}
        return config


def _message(role: Role, text: str) -> Message:
    # Not validated: Genkit looks three times at what is typed already.
    return Message.model_construct(role=role, content=[Part.from_text(text)])


def _completion(response: ModelResponse) -> Completion:
    if response.finish_reason not in _FINISH_REASONS:
        raise ModelError(CUT)
    return Completion(
        text=made_sound(response.text),
        finish_reason=_FINISH_REASONS[response.finish_reason],
        usage=_usage(response.usage),
    )


def _usage(usage: ModelUsage | None) -> Usage | None:
    counts = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
    tokens = [int(count) for count in counts if count is not None and 0 <= count < _ODD_TOKENS]
    return Usage(input_tokens=tokens[0], output_tokens=tokens[1]) if len(tokens) == 2 else None
