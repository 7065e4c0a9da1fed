"""The lean wire: the OpenAI plug-in, with aiohttp and `json` where it would use the openai SDK.

The SDK walks the types of every message and of every streamed chunk: 0.3 ms each, on the event
loop. Names, metadata, config and the request's body are the plug-in's own; only how the body
travels and how the answer is read differ.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from genkit import (
    GenkitError,
    Message,
    ModelRequest,
    ModelResponse,
    ModelResponseChunk,
    ModelUsage,
    Part,
    Role,
)
from genkit_openai.models.model import OpenAIModel, _failure_message, _finish_state
from genkit_openai.typing import OpenAIConfig

from chatbot.adapters.llm.network import Way
from chatbot.adapters.llm.provider_http import ProviderHttp, read_body
from chatbot.adapters.llm.provider_openai import ProviderOpenAI, ids_of
from chatbot.adapters.llm.sse import EventData
from chatbot.domain.text import made_sound

_DRAIN_S = 0.05


class LeanOpenAI(ProviderOpenAI):
    """The plug-in with its chat models on the lean wire; the other kinds stay on the SDK."""

    def __init__(self, http: ProviderHttp, way: Way, **openai_params: Any) -> None:  # noqa: ANN401 (the plug-in's)
        super().__init__(way, **openai_params)
        self._http = http

    async def aclose(self) -> None:
        await super().aclose()
        await self._http.aclose()

    async def model_ids(self) -> list[str]:
        async with self._http.request("GET", "models") as response:
            return ids_of(json.loads(await read_body(response)))

    def _chat_model(self, local: str, request: ModelRequest[OpenAIConfig]) -> OpenAIModel:
        if request.tools:  # not by the service, only by hand in the Developer UI
            return super()._chat_model(local, request)
        return LeanModel(local, self._http)


class LeanModel(OpenAIModel):
    """The plug-in's model: its request building and bookkeeping, our way to send and to read."""

    def __init__(self, model: str, http: ProviderHttp) -> None:
        # Not super().__init__(): it wants the SDK client, which costs 0.1 s and stays unused.
        self._model = model
        self._http = http

    async def _generate(self, request: ModelRequest[OpenAIConfig]) -> ModelResponse:
        body = await self._get_openai_request_config(request)
        body.pop("stream_options", None)
        answer = _Answer(part="message")
        async with self._http.request("POST", "chat/completions", body=body) as response:
            answer.take(await read_body(response))
        return self._clean_json_response(answer.response(), request)

    async def _generate_stream(
        self, request: ModelRequest[OpenAIConfig], callback: Callable[[ModelResponseChunk], None]
    ) -> ModelResponse:
        body = await self._get_openai_request_config(request)
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        answer = _Answer(part="delta")
        async with self._http.request("POST", "chat/completions", body=body) as response:
            events = EventData()
            async for piece in response.content.iter_any():
                if _take_all(answer, events.feed(piece), callback):
                    await _drain(response)
                    break
            else:  # the provider does not say that it is done
                _take_all(answer, events.flush(), callback)
        return self._clean_json_response(answer.response(), request)


@dataclass(slots=True)
class _Answer:
    """An answer as it is put together from one body or from many chunks.

    Only the keys that matter are looked at. A document of another shape raises whatever it
    raises: Genkit wraps it and the translation calls it unusable.
    """

    part: str
    texts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    failure: str | None = None
    usage: ModelUsage | None = None
    saw_choice: bool = False

    def take(self, data: bytes) -> str:
        """Take in one JSON document and return the text that it adds."""
        document: dict[str, Any] = json.loads(data)
        if document.get("error"):
            raise GenkitError(status="INTERNAL", message="The provider failed inside its answer.")
        if usage := document.get("usage"):
            self.usage = _usage(usage)
        choices = document.get("choices")
        if not choices:
            return ""
        self.saw_choice = True
        choice = choices[0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self.failure = _failure_message(choice) or self.failure
        part = choice.get(self.part) or {}
        if refusal := part.get("refusal"):
            self.refusals.append(refusal)
        text = made_sound(part.get("content") or "")
        self.texts.append(text)
        return text

    def response(self) -> ModelResponse:
        """The whole answer, in the shape of the plug-in's, with its text in one part."""
        if not self.saw_choice:
            raise GenkitError(status="INTERNAL", message="No choices in completion.")
        finish_reason, finish_message = _finish_state(
            self.finish_reason, refusal="".join(self.refusals), failure_message=self.failure
        )
        text = "".join(self.texts)
        return ModelResponse(
            message=Message(role=Role.MODEL, content=[Part.from_text(text)] if text else []),
            finish_reason=finish_reason,
            finish_message=finish_message,
            usage=self.usage,
        )


def _usage(usage: dict[str, Any]) -> ModelUsage:
    return ModelUsage(
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        total_tokens=usage.get("total_tokens"),
    )


def _take_all(
    answer: _Answer, events: Iterable[bytes], callback: Callable[[ModelResponseChunk], None]
) -> bool:
    """Take in what arrived together, hand its text on as one, and say whether `[DONE]` was there.

    What is wrong with an event is raised after the text before it is handed on.
    """
    texts: list[str] = []
    try:
        for data in events:
            if data == b"[DONE]":
                return True
            if data:
                texts.append(answer.take(data))
        return False
    finally:
        if text := "".join(texts):
            callback(ModelResponseChunk(role=Role.MODEL, content=[Part.from_text(text)]))


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of the body: only then can the connection be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in response.content.iter_any():
                pass
