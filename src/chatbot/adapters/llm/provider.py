"""Genkit with the provider that the settings name, and the list of that provider's models."""

import asyncio
from typing import Any, Literal

from genkit import Genkit
from genkit_openai.openai_plugin import _classify_model, _is_known_unsupported, _ModelType
from openai import Timeout

from chatbot.adapters.llm.diagnosis import model_failure
from chatbot.adapters.llm.extractive import define_extractive
from chatbot.adapters.llm.network import OPENAI_URL, endpoint_of, way_to
from chatbot.adapters.llm.provider_http import ProviderHttp
from chatbot.adapters.llm.provider_openai import AiohttpOpenAI, ProviderOpenAI
from chatbot.adapters.llm.quirks import AS_THE_PLUGIN, KnownQuirks, Quirks

LISTING_TIMEOUT_S = 10.0
_NO_KEY = "none"  # the SDK refuses an empty key; providers that need none do not look at it

TransportName = Literal["aiohttp", "sdk"]


class ChatGenkit(Genkit):
    """Genkit together with the connections that were opened for it."""

    def __init__(self, plugin: ProviderOpenAI | None) -> None:
        # An empty prompt_dir: without it, Genkit loads ./prompts of the working directory.
        super().__init__(plugins=[plugin] if plugin else [], prompt_dir="")
        self._plugin = plugin

    def quirks_of(self, name: str) -> str:
        """How a model is asked differently from others, by its Genkit name; empty = not at all."""
        quirks = self._plugin and self._plugin.quirks.of(name.removeprefix("openai/"))
        return str(quirks) if quirks else ""

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if self._plugin is not None:
            await self._plugin.aclose()


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
    plugin = None
    if api_key or base_url:
        plugin = _plugin(
            transport=transport,
            api_key=api_key,
            base_url=base_url,
            connect_timeout_s=connect_timeout_s,
            total_timeout_s=turn_timeout_s,
            quirks=quirks,
        )
    ai = ChatGenkit(plugin)
    define_extractive(ai)
    return ai


def _plugin(
    *,
    transport: TransportName,
    api_key: str | None,
    base_url: str | None,
    connect_timeout_s: float,
    total_timeout_s: float,
    quirks: Quirks = AS_THE_PLUGIN,
) -> ProviderOpenAI:
    address = base_url or OPENAI_URL
    way, endpoint = way_to(address), endpoint_of(address)
    sdk: dict[str, Any] = {
        "api_key": api_key or _NO_KEY,
        "base_url": str(endpoint.base),
        "default_query": endpoint.query,
        "default_headers": endpoint.headers(api_key),
        "max_retries": 0,
        "timeout": Timeout(total_timeout_s, connect=connect_timeout_s),
    }
    known = KnownQuirks(quirks)
    if transport == "sdk":
        return ProviderOpenAI(way, known, **sdk)
    http = ProviderHttp(
        endpoint=endpoint,
        api_key=api_key,
        way=way,
        connect_timeout_s=connect_timeout_s,
        total_timeout_s=total_timeout_s,
    )
    return AiohttpOpenAI(http, way, known, **sdk)


async def chat_models(
    *, transport: TransportName, base_url: str | None, api_key: str | None, connect_timeout_s: float
) -> list[str]:
    """Return the ids of the provider's chat models, by the plug-in's own classification.

    Raises:
        ModelFailure: the list could not be had.
    """
    plugin = _plugin(
        transport=transport,
        api_key=api_key,
        base_url=base_url,
        connect_timeout_s=connect_timeout_s,
        total_timeout_s=LISTING_TIMEOUT_S,
    )
    try:
        async with asyncio.timeout(LISTING_TIMEOUT_S):
            names = [name for name in await plugin.model_ids() if is_chat_model(name)]
    except Exception as error:
        raise model_failure(error) from error
    finally:
        await plugin.aclose()
    # OpenAI's own families that chat completions do not serve; elsewhere a name says nothing.
    return names if base_url else [name for name in names if not _is_known_unsupported(name)]


def is_chat_model(model_id: str) -> bool:
    """Whether the plug-in takes a model of this name for one that chats."""
    return bool(model_id) and _classify_model(model_id) is _ModelType.CHAT
