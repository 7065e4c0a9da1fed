"""Builds Genkit for the configured provider, and lists that provider's models."""

import asyncio
from typing import Literal

from genkit import Genkit
from openai import Timeout

from chatbot.adapters.llm.aiohttp_transport import AiohttpTransport
from chatbot.adapters.llm.chat_completions import ChatCompletions, Transport
from chatbot.adapters.llm.diagnosis import model_failure
from chatbot.adapters.llm.extractive import define_extractive
from chatbot.adapters.llm.network import OPENAI_URL, endpoint_of, route_to
from chatbot.adapters.llm.openai_plugin import (
    ProviderOpenAI,
    is_chat_model,
    is_served_by_chat_completions,
)
from chatbot.adapters.llm.provider_http import ProviderHttp
from chatbot.adapters.llm.quirks import NO_QUIRKS, KnownQuirks, Quirks
from chatbot.adapters.llm.sdk_transport import SdkTransport

LISTING_TIMEOUT_S = 10.0
_NO_KEY = "none"  # the SDK rejects an empty key; providers without keys ignore it

TransportName = Literal["aiohttp", "sdk"]


class ChatGenkit(Genkit):
    """Genkit together with its open connections."""

    def __init__(
        self, plugin: ProviderOpenAI | None, quirks: KnownQuirks, *transports: Transport
    ) -> None:
        # prompt_dir: by default, Genkit loads ./prompts of the working directory.
        super().__init__(plugins=[plugin] if plugin else [], prompt_dir="")
        self.plugin = plugin
        self._quirks = quirks
        self._transports = transports

    def quirks_of(self, name: str) -> str:
        """How requests to a model (by its Genkit name) differ from the plug-in's; empty = not."""
        return str(self._quirks.of(name.removeprefix("openai/")))

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for transport in self._transports:
            await transport.aclose()


def build_genkit(
    *,
    transport: TransportName,
    api_key: str | None,
    base_url: str | None,
    connect_timeout_s: float,
    turn_timeout_s: float,
    quirks: Quirks = NO_QUIRKS,
) -> ChatGenkit:
    """Build Genkit with the embedded model and, where one is configured, the provider's plug-in.

    Nothing is retried here, and time-outs apply only to connecting and to the whole call:
    `WithTimeouts` has those between tokens. `quirks` are configured; others are discovered.

    Raises:
        ProxyConfigurationError: the environment names an unusable proxy or certificate file.
    """
    known = KnownQuirks(quirks)
    if api_key or base_url:
        used, sdk = build_transports(
            transport,
            api_key=api_key,
            base_url=base_url,
            connect_timeout_s=connect_timeout_s,
            total_timeout_s=turn_timeout_s,
        )
        plugin = ProviderOpenAI(ChatCompletions(used, known), sdk)
        ai = ChatGenkit(plugin, known, used, sdk)
    else:
        ai = ChatGenkit(None, known)
    define_extractive(ai)
    return ai


async def chat_models(
    *, transport: TransportName, base_url: str | None, api_key: str | None, connect_timeout_s: float
) -> list[str]:
    """Return the ids of the provider's chat models, by the plug-in's own classification.

    Raises:
        ModelFailure: the provider did not return a list.
    """
    used, _ = build_transports(
        transport,
        api_key=api_key,
        base_url=base_url,
        connect_timeout_s=connect_timeout_s,
        total_timeout_s=LISTING_TIMEOUT_S,
    )
    try:
        async with asyncio.timeout(LISTING_TIMEOUT_S):
            names = [name for name in await used.model_ids() if is_chat_model(name)]
    except Exception as error:
        raise model_failure(error) from error
    finally:
        await used.aclose()
    # For other providers than OpenAI, the family in a name means nothing.
    return names if base_url else list(filter(is_served_by_chat_completions, names))


def build_transports(
    name: TransportName,
    *,
    api_key: str | None,
    base_url: str | None,
    connect_timeout_s: float,
    total_timeout_s: float,
) -> tuple[Transport, SdkTransport]:
    """The selected transport, and the SDK's for requests that need the SDK."""
    address = base_url or OPENAI_URL
    route, endpoint = route_to(address), endpoint_of(address)
    sdk = SdkTransport(
        route,
        api_key=api_key or _NO_KEY,
        base_url=str(endpoint.base),
        default_query=endpoint.query,
        default_headers=endpoint.headers(api_key),
        max_retries=0,
        timeout=Timeout(total_timeout_s, connect=connect_timeout_s),
    )
    if name == "sdk":
        return sdk, sdk
    http = ProviderHttp(
        endpoint=endpoint,
        api_key=api_key,
        route=route,
        connect_timeout_s=connect_timeout_s,
        total_timeout_s=total_timeout_s,
    )
    return AiohttpTransport(http), sdk
