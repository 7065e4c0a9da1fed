"""The openai SDK's own transport: the reference for the aiohttp transport."""

import asyncio
from typing import Any

import httpx2
from genkit.plugin_api import loop_local_client
from openai import AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient
from openai import BaseModel as OpenAIBaseModel

from chatbot.adapters.llm.answers import Answer
from chatbot.adapters.llm.chat_completions import AFTER_THE_END_S, OnText, Transport, model_ids_in
from chatbot.adapters.llm.network import Route
from chatbot.adapters.llm.quirks import Body


class SdkTransport(Transport):
    """Uses one SDK client per event loop, created at its first use, since that takes 0.1 s."""

    def __init__(self, route: Route, **client_params: Any) -> None:  # noqa: ANN401 (the SDK's)
        self._route = route
        self._params = client_params
        self._is_in_use = False
        self.client = loop_local_client(self._open)

    async def ask(self, body: Body, answer: Answer, on_text: OnText) -> None:
        created = await self.client().chat.completions.create(**body)
        if not isinstance(created, AsyncStream):
            on_text(answer.feed(_as_dict(created)))
            return
        try:
            await _read(created, answer, on_text)
        except Exception:
            if not answer.is_finished:
                raise
        finally:
            await created.close()

    async def model_ids(self) -> list[str]:
        return model_ids_in(await self.client().get("/models", cast_to=object))

    async def post(self, path: str, body: Body) -> object:
        found: object = await self.client().post(f"/{path}", body=body, cast_to=object)
        return found

    async def aclose(self) -> None:
        if self._is_in_use:
            await self.client().close()

    def _open(self) -> AsyncOpenAI:
        self._is_in_use = True
        return AsyncOpenAI(**self._params, http_client=_httpx2_client(self._route))


async def _read(chunks: AsyncStream[Any], answer: Answer, on_text: OnText) -> None:
    loop, size = asyncio.get_running_loop(), 0
    async with asyncio.timeout(None) as patience:
        async for chunk in chunks:
            document = _as_dict(chunk)
            on_text(answer.feed(document))
            size += len(repr(document))  # the SDK does not report how much it has read
            if size > answer.max_raw_bytes:
                answer.cut()
            if answer.is_full:
                return
            if answer.is_finished and patience.when() is None:
                patience.reschedule(loop.time() + AFTER_THE_END_S)


def _as_dict(found: object) -> object:
    """What the SDK has parsed, as JSON; it may not be one of its types."""
    return found.to_dict(warnings=False) if isinstance(found, OpenAIBaseModel) else found


def _httpx2_client(route: Route) -> httpx2.AsyncClient:
    """The SDK's own HTTP client with the route that both transports use."""
    proxy = None
    if route.proxy is not None:
        auth = None if route.proxy.user is None else (route.proxy.user, route.proxy.password)
        tls = route.tls if route.proxy.url.scheme == "https" else None
        proxy = httpx2.Proxy(str(route.proxy.url), auth=auth, ssl_context=tls)
    return DefaultAsyncHttpxClient(
        proxy=proxy,
        verify=route.tls,
        trust_env=False,
        follow_redirects=False,  # the prompt goes to the configured provider only
    )
