"""The lean wire: the OpenAI plug-in, with aiohttp and `json` where it would use the openai SDK.

The SDK walks the types of every message and of every streamed chunk: 0.3 ms each, on the event
loop. Names, metadata, config and the request's body are the plug-in's own; only how the body
travels and how the answer is read differ.
"""

import asyncio
import copy
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx2
from genkit import (
    Action,
    ActionRunContext,
    GenkitError,
    Message,
    ModelRequest,
    ModelResponse,
    ModelResponseChunk,
    ModelUsage,
    Part,
    Role,
)
from genkit.plugin_api import loop_local_client
from genkit_openai import OpenAI
from genkit_openai.models.handler import OpenAIModelHandler
from genkit_openai.models.model import OpenAIModel, _failure_message, _finish_state
from genkit_openai.typing import OpenAIConfig
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from chatbot.adapters.llm.network import Way
from chatbot.adapters.llm.provider_http import ProviderHttp, read_body
from chatbot.adapters.llm.sse import EventData
from chatbot.domain.text import made_sound

_DRAIN_S = 0.05


class ProviderOpenAI(OpenAI):
    """The plug-in on its own wire, but cheap to start and with connections that can be closed."""

    def __init__(self, way: Way, **openai_params: Any) -> None:  # noqa: ANN401 (the plug-in's)
        super().__init__(**openai_params)
        self._way = way
        self._runtime_client = loop_local_client(self._open_sdk)
        self._sdk_in_use = False
        self._template: Action | None = None

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if self._sdk_in_use:
            await self._runtime_client().close()

    async def model_ids(self) -> list[str]:
        """The ids of all models that the provider lists."""
        return _ids(await self._runtime_client().get("/models", cast_to=object))

    def _open_sdk(self) -> AsyncOpenAI:
        self._sdk_in_use = True
        return AsyncOpenAI(**self._openai_params, http_client=_httpx2_client(self._way))

    def _create_model_action(self, name: str) -> Action:
        """Return what the plug-in would, without making the same JSON schemas for each model.

        They are nearly all of what an action costs to make (25 ms on the event loop, 31 chat
        models), and the same for all chat models: the others are copies of the first.
        """
        # Not the plug-in's replace(): it also cuts the "openai/" inside "openai/openai/gpt-oss".
        local = name.removeprefix("openai/")
        if self._template is None:
            self._template = super()._create_model_action(name)
        action = copy.copy(self._template)
        schema = self._template.metadata["model"]["customOptions"]  # type: ignore[index]  # a JSON object, typed as object
        info = {**(self.get_model_info(local) or {}), "customOptions": schema}
        # Genkit has no way to say it: every Action that is made anew makes its schemas anew.
        action._name = name  # noqa: SLF001
        action._metadata = {**self._template.metadata, "model": info}  # noqa: SLF001
        action._fn = self._generate_with(local)  # noqa: SLF001
        return action

    def _generate_with(self, local: str) -> Callable[..., Any]:
        async def _generate(
            request: ModelRequest[OpenAIConfig], ctx: ActionRunContext
        ) -> ModelResponse:
            model = self._chat_model(local, request)
            return await OpenAIModelHandler(model).generate(request, ctx)

        return _generate

    def _chat_model(self, local: str, request: ModelRequest[OpenAIConfig]) -> OpenAIModel:  # noqa: ARG002 (the lean wire looks at it)
        return OpenAIModel(local, self._runtime_client())


class LeanOpenAI(ProviderOpenAI):
    """The plug-in with its chat models on the lean wire; the other kinds stay on the SDK."""

    def __init__(self, http: ProviderHttp, way: Way, **openai_params: Any) -> None:  # noqa: ANN401
        super().__init__(way, **openai_params)
        self._http = http

    async def aclose(self) -> None:
        await super().aclose()
        await self._http.aclose()

    async def model_ids(self) -> list[str]:
        async with self._http.request("GET", "models") as response:
            return _ids(json.loads(await read_body(response)))

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


def _ids(listing: Any) -> list[str]:  # noqa: ANN401 (JSON; of another shape, it raises)
    return [model["id"] for model in listing["data"]]


def _httpx2_client(way: Way) -> httpx2.AsyncClient:
    """The SDK's own client, but for the way: that one is the same on both wires."""
    proxy = None
    if way.proxy is not None:
        auth = None if way.proxy.user is None else (way.proxy.user, way.proxy.password)
        tls = way.tls if way.proxy.url.scheme == "https" else None
        proxy = httpx2.Proxy(str(way.proxy.url), auth=auth, ssl_context=tls)
    return DefaultAsyncHttpxClient(proxy=proxy, verify=way.tls, trust_env=False)


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
