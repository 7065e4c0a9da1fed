"""Chat completions of an OpenAI-compatible provider, over one of two transports.

aiohttp carries the requests, or the openai SDK as the reference.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from genkit import ModelResponse

from chatbot.adapters.llm.answers import Answer
from chatbot.adapters.llm.faults import refusal_behind
from chatbot.adapters.llm.quirks import Body, KnownQuirks

AFTER_THE_END_S = 2.0
"""How long a finished answer is read on, for the usage, `[DONE]` and the end of the body."""

OnText = Callable[[str], None]
"""Takes text that arrived, or the empty text as a sign of life without any."""


class Transport(Protocol):
    """Carries requests to the provider and reads its answers.

    Its methods raise exceptions of the client in use; `faults` knows them. Cancelling closes
    the upstream call.
    """

    @abstractmethod
    async def ask(self, body: Body, answer: Answer, on_text: OnText) -> None:
        """Send the body and read until the answer is complete, full, or the provider is done.

        Nothing that happens after the answer is finished is an error.
        """

    @abstractmethod
    async def model_ids(self) -> list[str]:
        """The ids of all models that the provider lists."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections of the running event loop; twice is once."""


class ChatCompletions:
    """Asks models as they take it, and remembers how that is."""

    def __init__(self, transport: Transport, quirks: KnownQuirks) -> None:
        self._transport = transport
        self._quirks = quirks

    async def ask(
        self, model: str, body: Body, *, max_output_tokens: int | None, on_text: OnText
    ) -> ModelResponse:
        """Ask, and ask again without what the provider names as refused."""
        quirks = self._quirks.of(model)
        while True:
            sent = quirks.fitted(body)
            answer = Answer(max_output_tokens=max_output_tokens)
            try:
                await self._transport.ask(sent, answer, on_text)
                break
            except Exception as error:
                refusal = None if answer.has_begun else refusal_behind(error)
                other = quirks.after(refusal, sent) if refusal else None
                if other is None:
                    raise
                quirks = other
        response = answer.response()
        self._quirks.remember(model, quirks)
        return response


def model_ids_in(listing: Any) -> list[str]:  # noqa: ANN401 (JSON; of another shape, it raises)
    """The ids in the answer of `GET /models`, a bare list at Together."""
    models = listing if isinstance(listing, list) else listing["data"]
    return [model["id"] for model in models]
