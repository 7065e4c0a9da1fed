"""The OpenAI plug-in over the openai SDK, and that SDK as the reference transport."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import httpx2
from genkit import Action, ActionRunContext, ModelRequest, ModelResponse
from genkit.plugin_api import loop_local_client
from genkit_openai import OpenAI
from genkit_openai.models.handler import OpenAIModelHandler
from genkit_openai.models.model import OpenAIModel
from genkit_openai.typing import OpenAIConfig
from openai import AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient
from openai import BaseModel as OpenAIBaseModel

from chatbot.adapters.llm.aiohttp_transport import AiohttpTransport
from chatbot.adapters.llm.answers import Answer, document_in
from chatbot.adapters.llm.chat_completions import AFTER_THE_END_S, OnText, ProviderModel, Transport
from chatbot.adapters.llm.network import Way
from chatbot.adapters.llm.provider_http import ProviderHttp, read_body
from chatbot.adapters.llm.quirks import Body, KnownQuirks


class ProviderOpenAI(OpenAI):
    """The plug-in, but cheap to start and with connections that can be closed."""

    def __init__(self, way: Way, quirks: KnownQuirks, **openai_params: Any) -> None:  # noqa: ANN401 (the plug-in's)
        super().__init__(**openai_params)
        self.quirks = quirks
        self._way = way
        self._runtime_client = loop_local_client(self._open_sdk)
        self._transport: Transport = SdkTransport(self._runtime_client)
        self._sdk_in_use = False
        self._template: Action | None = None

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if self._sdk_in_use:
            await self._runtime_client().close()

    async def model_ids(self) -> list[str]:
        """The ids of all models that the provider lists."""
        return ids_of(await self._runtime_client().get("/models", cast_to=object))

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

    def _chat_model(self, local: str, request: ModelRequest[OpenAIConfig]) -> OpenAIModel:
        if request.tools:  # not by the service, only by hand in the Developer UI
            return OpenAIModel(local, self._runtime_client())
        return ProviderModel(local, self._transport, self.quirks)


class SdkTransport(Transport):
    """Over the openai SDK's own requests and streams."""

    def __init__(self, client: Callable[[], AsyncOpenAI]) -> None:
        self._client = client

    async def ask(self, body: Body, answer: Answer, on_text: OnText) -> None:
        created = await self._client().chat.completions.create(**body)
        if not isinstance(created, AsyncStream):
            on_text(answer.take(_as_dict(created)))
            return
        try:
            await self._read(created, answer, on_text)
        except Exception:
            if not answer.is_finished:
                raise
        finally:
            await created.close()

    async def _read(self, chunks: AsyncStream[Any], answer: Answer, on_text: OnText) -> None:
        loop, size = asyncio.get_running_loop(), 0
        async with asyncio.timeout(None) as patience:
            async for chunk in chunks:
                document = _as_dict(chunk)
                on_text(answer.take(document))
                size += len(repr(document))  # the SDK does not say how much it has read
                if size > answer.max_raw_bytes:
                    answer.cut()
                if answer.is_full:
                    return
                if answer.is_finished and patience.when() is None:
                    patience.reschedule(loop.time() + AFTER_THE_END_S)


def _as_dict(found: object) -> object:
    """What the SDK has read, as the JSON that it was; it does not insist on its own types."""
    return found.to_dict(warnings=False) if isinstance(found, OpenAIBaseModel) else found


class AiohttpOpenAI(ProviderOpenAI):
    """The plug-in with its chat models over aiohttp; the other kinds stay on the SDK."""

    def __init__(
        self,
        http: ProviderHttp,
        way: Way,
        quirks: KnownQuirks,
        **openai_params: Any,  # noqa: ANN401 (the plug-in's)
    ) -> None:
        super().__init__(way, quirks, **openai_params)
        self._http = http
        self._transport = AiohttpTransport(http)

    async def aclose(self) -> None:
        await super().aclose()
        await self._http.aclose()

    async def model_ids(self) -> list[str]:
        async with self._http.request("GET", "models") as response:
            return ids_of(document_in(await read_body(response)))


def ids_of(listing: Any) -> list[str]:  # noqa: ANN401 (JSON; of another shape, it raises)
    models = listing if isinstance(listing, list) else listing["data"]  # bare at Together
    return [model["id"] for model in models]


def _httpx2_client(way: Way) -> httpx2.AsyncClient:
    """The SDK's own client, but for the way: that one is the same on both transports."""
    proxy = None
    if way.proxy is not None:
        auth = None if way.proxy.user is None else (way.proxy.user, way.proxy.password)
        tls = way.tls if way.proxy.url.scheme == "https" else None
        proxy = httpx2.Proxy(str(way.proxy.url), auth=auth, ssl_context=tls)
    return DefaultAsyncHttpxClient(
        proxy=proxy,
        verify=way.tls,
        trust_env=False,
        follow_redirects=False,  # the prompt goes to the configured provider only
    )
