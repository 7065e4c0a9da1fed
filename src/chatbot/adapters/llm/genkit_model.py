"""A language model behind Genkit.

Runs the model's action with typed messages, never `ai.generate`, which does not raise when the
provider fails and treats prompts as templates.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from functools import cache, lru_cache, partial
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
from chatbot.adapters.llm.thinking import OUTPUT_SPENT
from chatbot.domain.chat import FinishReason, MessageRole
from chatbot.domain.errors import ModelError, ModelUnavailable, PromptRefused
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Task, Usage

_ROLES = {MessageRole.USER: Role.USER, MessageRole.ASSISTANT: Role.MODEL}
_FINISH_REASONS = {
    GenkitFinishReason.STOP: FinishReason.STOP,
    GenkitFinishReason.LENGTH: FinishReason.LENGTH,
    GenkitFinishReason.BLOCKED: FinishReason.BLOCKED,
}

_MESSAGES_KEPT = 1024

OnChunk = Callable[[ModelResponseChunk], None]


class _ProviderRequest(GenkitRequest[OpenAIConfig]):
    """The class that the plug-in expects: Genkit would convert another one to dicts and back."""


class _UntracedRequest(_ProviderRequest):
    """A request that is not serialised into Genkit's span, which only the Developer UI reads."""

    def model_dump_json(self, **_: object) -> str:
        return "{}"


class GenkitChatModel(ChatModel):
    """Any chat model that Genkit knows by name."""

    def __init__(
        self,
        ai: ChatGenkit,
        name: str,
        *,
        temperature: float | None = None,
        reasoning_effort: str | None = None,
    ) -> None:
        self.name = name
        self.ai = ai
        self._config = cache(partial(_config, temperature, reasoning_effort))
        is_traced = os.environ.get("GENKIT_ENV") == "dev"
        request_class = _ProviderRequest if is_traced else _UntracedRequest
        self._empty_request = request_class.model_construct(messages=[])
        self._is_embedded = name.startswith("local/")
        self._action: Action | None = None

    @property
    def adapted(self) -> str:
        """How requests to this model differ from the plug-in's, in words; empty if they do not."""
        return self.ai.quirks_of(self.name)

    async def complete(self, request: ModelRequest) -> Completion:
        return await self._run(request, None)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        """Run the action in its own task, so that closing the generator cancels the upstream call."""
        unread: list[str] = []
        wakeup = asyncio.Event()

        def on_chunk(chunk: ModelResponseChunk) -> None:
            unread.append(chunk.text)
            wakeup.set()

        running = asyncio.create_task(self._run(request, on_chunk))
        running.add_done_callback(lambda _: wakeup.set())
        started = False
        try:
            while not running.done() or unread:
                await wakeup.wait()
                wakeup.clear()
                is_alive = bool(unread)
                piece = "".join(unread)
                unread.clear()
                started = started or bool(piece)
                if is_alive:
                    yield piece
            yield await running
        except (ModelUnavailable, PromptRefused) as error:
            if started:  # a lost connection or a filter now means a cut answer
                raise ModelError(
                    CUT, status=error.status, code=error.code, param=error.param
                ) from error
            raise
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def warm_up(self) -> None:
        """Resolve the action: the plug-in then generates the JSON schemas of all its models."""
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
        # The embedded model may have nothing to summarise; a provider's silence is a failure.
        if not self._is_embedded and not completion.text.strip():
            _require_reason_for_silence(completion)
        return completion

    def _genkit_request(self, request: ModelRequest) -> GenkitRequest[Any]:
        messages = [_message(_ROLES[m.role], m.text) for m in request.messages]
        if request.system:
            messages.insert(0, _message(Role.SYSTEM, request.system))
        if self._is_embedded:
            return GenkitRequest(messages=messages, config={"task": request.task.value})
        # A copy: constructing one, even unvalidated, costs three times as much.
        config = self._config(request.max_output_tokens, request.task)
        return self._empty_request.model_copy(update={"messages": messages, "config": config})


def _config(
    temperature: float | None, reasoning_effort: str | None, max_tokens: int, task: Task
) -> OpenAIConfig:
    """The plug-in renames `max_tokens` for models that want it renamed."""
    config = OpenAIConfig(max_tokens=max_tokens, temperature=temperature)
    if task is Task.EXTRACT_MEMORY:
        config.response_format = {"type": "json_object"}
    # Not validated: a provider may have other efforts than OpenAI.
    return config.model_copy(update={"reasoning_effort": reasoning_effort})


@lru_cache(maxsize=_MESSAGES_KEPT)
def _message(role: Role, text: str) -> Message:
    """Cached, since most of a prompt was in the one before; must not be changed."""
    # Not validated: Genkit would check three times what is typed already.
    return Message.model_construct(role=role, content=[Part.from_text(text)])


def forget_messages() -> None:
    """Drop the messages of earlier prompts."""
    _message.cache_clear()


def _require_reason_for_silence(completion: Completion) -> None:
    if completion.finish_reason is FinishReason.LENGTH:
        raise ModelError(OUTPUT_SPENT)
    if completion.finish_reason is FinishReason.STOP:
        raise ModelError(UNUSABLE)


def _completion(response: ModelResponse) -> Completion:
    if response.finish_reason not in _FINISH_REASONS:
        raise ModelError(CUT)
    return Completion(
        text=response.text,
        finish_reason=_FINISH_REASONS[response.finish_reason],
        usage=_usage(response.usage),
    )


def _usage(usage: ModelUsage | None) -> Usage | None:
    """The counts as integers (Genkit's are floats); 0 where the provider sent no valid count."""
    given, made = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
    counts = Usage(input_tokens=int(given or 0), output_tokens=int(made or 0))
    return counts if counts.input_tokens or counts.output_tokens else None
