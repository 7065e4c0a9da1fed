"""Genkit with the provider that the settings name, and the list of that provider's models."""

import asyncio
from typing import Literal

from genkit import Genkit
from openai import Timeout

from chatbot.adapters.llm.aiohttp_transport import AiohttpTransport
from chatbot.adapters.llm.chat_completions import ChatCompletions, Transport
from chatbot.adapters.llm.diagnosis import model_failure
from chatbot.adapters.llm.extractive import define_extractive
from chatbot.adapters.llm.network import OPENAI_URL, endpoint_of, way_to
from chatbot.adapters.llm.openai_plugin import (
    ProviderOpenAI,
    is_chat_model,
    is_served_by_chat_completions,
)
from chatbot.adapters.llm.provider_http import ProviderHttp
from chatbot.adapters.llm.quirks import AS_THE_PLUGIN, KnownQuirks, Quirks
from chatbot.adapters.llm.sdk_transport import SdkTransport

LISTING_TIMEOUT_S = 10.0
_NO_KEY = "none"  # the SDK refuses an empty key; providers that need none do not look at it

TransportName = Literal["aiohttp", "sdk"]


class ChatGenkit(Genkit):
    """Genkit together with the connections that were opened for it."""

    def __init__(
        self, plugin: ProviderOpenAI | None, quirks: KnownQuirks, *transports: Transport
    ) -> None:
        # An empty prompt_dir: without it, Genkit loads ./prompts of the working directory.
        super().__init__(plugins=[plugin] if plugin else [], prompt_dir="")
        self.plugin = plugin
        self._quirks = quirks
        self._transports = transports

    def quirks_of(self, name: str) -> str:
        """How a model is asked differently from others, by its Genkit name; empty = not at all."""
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
    quirks: Quirks = AS_THE_PLUGIN,
) -> ChatGenkit:
    """Build Genkit with the embedded model and, where one is configured, the provider's plug-in.

    Nothing is retried here, and the only limits are on connecting and on the whole call: those
    between tokens are `WithTimeouts`', which knows whether an answer streams. `quirks` are what is
    set by hand; the others are found out.

    Raises:
        NoWay: the environment names a proxy or certificates that cannot be used.
    """
    known = KnownQuirks(quirks)
    if api_key or base_url:
        used, sdk = _transports(
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
        ModelFailure: the list could not be had.
    """
    used, _ = _transports(
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
    # Elsewhere than at OpenAI, the name of a family says nothing.
    return names if base_url else list(filter(is_served_by_chat_completions, names))


def _transports(
    name: TransportName,
    *,
    api_key: str | None,
    base_url: str | None,
    connect_timeout_s: float,
    total_timeout_s: float,
) -> tuple[Transport, SdkTransport]:
    """The transport to be used, and the SDK's for what goes over no other."""
    address = base_url or OPENAI_URL
    way, endpoint = way_to(address), endpoint_of(address)
    sdk = SdkTransport(
        way,
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
        way=way,
        connect_timeout_s=connect_timeout_s,
        total_timeout_s=total_timeout_s,
    )
    return AiohttpTransport(http), sdk
