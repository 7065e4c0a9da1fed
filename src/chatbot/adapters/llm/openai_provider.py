"""The configured OpenAI-compatible provider, for choosing the model and for the doctor."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from chatbot.adapters.llm.diagnosis import explanation
from chatbot.adapters.llm.faults import Fault, fault_of
from chatbot.adapters.llm.network import OPENAI_URL, endpoint_of, proxy_for
from chatbot.adapters.llm.openai_plugin import is_chat_model
from chatbot.adapters.llm.provider import TransportName, chat_models
from chatbot.domain.errors import ModelFailure
from chatbot.domain.ports.provider import ModelProvider

_NO_LIST = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
_NO_LIST |= {HTTPStatus.GONE, HTTPStatus.NOT_IMPLEMENTED}


class OpenAIProvider(ModelProvider):
    """The provider at a base URL, or OpenAI itself without one."""

    def __init__(
        self,
        *,
        transport: TransportName,
        base_url: str | None,
        api_key: str | None,
        connect_timeout_s: float,
    ) -> None:
        self._transport, self._base_url, self._api_key = transport, base_url, api_key
        self._connect_timeout_s = connect_timeout_s
        self._url = base_url or OPENAI_URL
        endpoint = endpoint_of(self._url)
        self.deployment, self.has_deployments = endpoint.deployment, endpoint.is_azure

    def served_models(self) -> Sequence[str]:
        listing = chat_models(
            transport=self._transport,
            base_url=self._base_url,
            api_key=self._api_key,
            connect_timeout_s=self._connect_timeout_s,
        )
        with ThreadPoolExecutor(1) as pool:  # the caller may be inside an event loop
            return pool.submit(asyncio.run, listing).result()

    def can_chat(self, model_id: str) -> bool:
        return is_chat_model(model_id)

    def has_no_list(self, error: ModelFailure) -> bool:
        return error.status in _NO_LIST or (
            error.status is None and fault_of(error) is Fault.ANSWER
        )

    def explain(self, error: ModelFailure) -> str:
        return explanation(error, self._url)

    def proxy(self) -> str | None:
        proxy = proxy_for(self._url)
        return f"{proxy.address}, from {proxy.variable}" if proxy else None
