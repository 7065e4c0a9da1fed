"""Chat completions of an OpenAI-compatible provider over a transport: aiohttp or the openai SDK."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from genkit import ModelResponse

from chatbot.adapters.llm.answers import Answer
from chatbot.adapters.llm.faults import refusal_behind
from chatbot.adapters.llm.quirks import Body, KnownQuirks

AFTER_THE_END_S = 2.0
"""How long to read after the finish reason, for the usage, `[DONE]` and the end of the body."""

OnText = Callable[[str], None]
"""Called with text as it arrives, or with an empty string as a sign of life."""


class Transport(Protocol):
    """Sends requests to the provider and reads the responses.

    Its methods raise the exceptions of the HTTP client; `faults` classifies them. Cancelling
    closes the upstream call.
    """

    @abstractmethod
    async def ask(self, body: Body, answer: Answer, on_text: OnText) -> None:
        """Send the body and read until the answer is full or the response ends.

        What happens after the answer is finished is not an error.
        """

    @abstractmethod
    async def model_ids(self) -> list[str]:
        """Return the ids of all models that the provider lists."""

    @abstractmethod
    async def post(self, path: str, body: Body) -> object:
        """Send the body to an API path such as `embeddings`, and return the JSON of the response."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections of the running event loop; idempotent."""


class ChatCompletions:
    """Sends requests in the form that each model accepts, and remembers that form."""

    def __init__(self, transport: Transport, quirks: KnownQuirks) -> None:
        self._transport = transport
        self._quirks = quirks

    async def ask(
        self, model: str, body: Body, *, max_output_tokens: int | None, on_text: OnText
    ) -> ModelResponse:
        """Send a request, and again without what the provider's error names."""
        quirks = self._quirks.of(model)
        while True:
            sent = quirks.adapt(body)
            answer = Answer(max_output_tokens=max_output_tokens)
            try:
                await self._transport.ask(sent, answer, on_text)
                break
            except Exception as error:
                refusal = None if answer.has_begun else refusal_behind(error)
                other = quirks.after_refusal(refusal, sent) if refusal else None
                if other is None:
                    raise
                quirks = other
        response = answer.response()
        self._quirks.remember(model, quirks)
        return response


def model_ids_in(listing: Any) -> list[str]:  # noqa: ANN401 (JSON; of another shape, it raises)
    """The ids in the response of `GET /models`; Together sends a bare list."""
    models = listing if isinstance(listing, list) else listing["data"]
    return [model["id"] for model in models]
