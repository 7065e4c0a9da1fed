"""An embedding model behind a Genkit embedder.

The action is our own, not the OpenAI plug-in's: that one takes only models with `embed` in their
names, asks for base64, which not every provider can do, and drops the order of the vectors and the
count of tokens.
"""

import os
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence

from genkit import Document, Embedding, EmbedRequest, EmbedResponse, Genkit, Part

from chatbot.adapters.llm.chat_completions import Transport
from chatbot.adapters.llm.diagnosis import model_failure
from chatbot.adapters.llm.embeddings import tokens_in, vectors_in
from chatbot.domain.errors import ContextTooLong, ModelFailure
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.search import Vector

_TOO_LONG = "The text is longer than the embedding model's context."


class _UntracedRequest(EmbedRequest):
    """A request that is not serialised into Genkit's span, which only the Developer UI reads."""

    def model_dump_json(self, **_: object) -> str:
        return "{}"


class _UntracedResponse(EmbedResponse):
    """A response that is not serialised, either."""

    def model_dump_json(self, **_: object) -> str:
        return "{}"


class GenkitEmbedder(Embedder):
    """An embedding model of an OpenAI-compatible provider.

    Args:
        names: replaces the names of settings and of the model in texts about failures.
        on_tokens: called with the tokens of each call, if the provider counts them.
    """

    def __init__(
        self,
        ai: Genkit,
        model: str,
        transport: Transport,
        *,
        names: Mapping[str, str],
        on_tokens: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.model = model
        self._transport, self._names, self._on_tokens = transport, names, on_tokens
        is_traced = os.environ.get("GENKIT_ENV") == "dev"
        self._request_class = EmbedRequest if is_traced else _UntracedRequest
        self._response_class = EmbedResponse if is_traced else _UntracedResponse
        self._action = ai.define_embedder(model, self._embed_with(model.removeprefix("openai/")))

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        # Not validated: Genkit would copy each text twice.
        documents = [
            Document.model_construct(content=[Part.from_text(text)], metadata=None)
            for text in texts
        ]
        request = self._request_class.model_construct(input=documents, options=None)
        try:
            response = (await self._action.run(request)).response
        except Exception as error:
            raise self._renamed(model_failure(error)) from error
        return [array("d", each.embedding) for each in response.embeddings]

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _embed_with(self, model: str) -> Callable[[EmbedRequest], Awaitable[EmbedResponse]]:
        async def embed(request: EmbedRequest) -> EmbedResponse:
            texts = ["".join(part.text or "" for part in each.content) for each in request.input]
            # Without `encoding_format`: a provider may not know the parameter, but has a default.
            found = await self._transport.post("embeddings", {"model": model, "input": texts})
            vectors = vectors_in(found, len(texts))
            if tokens := tokens_in(found):
                self._on_tokens(tokens)
            return self._response_class.model_construct(
                embeddings=[Embedding.model_construct(embedding=list(each)) for each in vectors]
            )

        return embed

    def _renamed(self, failure: ModelFailure) -> ModelFailure:
        """Return the failure with a text about this model and its settings."""
        text = _TOO_LONG if isinstance(failure, ContextTooLong) else str(failure)
        for name, ours in self._names.items():
            text = text.replace(name, ours)
        return type(failure)(
            text,
            retry_after_s=failure.retry_after_s,
            status=failure.status,
            code=failure.code,
            param=failure.param,
        )
