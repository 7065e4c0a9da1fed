"""The plug-in's chat model, with how its request travels and how its answer is read left to us.

Names, metadata, config and the request's body are the plug-in's own. Two transports carry it:
aiohttp, and the openai SDK as the reference.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from genkit import Message, ModelRequest, ModelResponse, ModelResponseChunk, Part, Role
from genkit_openai.models.model import OpenAIModel
from genkit_openai.typing import OpenAIConfig

from chatbot.adapters.llm.answers import Answer
from chatbot.adapters.llm.diagnosis import refusal_behind
from chatbot.adapters.llm.quirks import Body, KnownQuirks

AFTER_THE_END_S = 2.0
"""How long a finished answer is read on, for the usage, `[DONE]` and the end of the body."""

OnText = Callable[[str], None]
"""Takes text that arrived, or the empty text as a sign of life without any."""

_OnChunk = Callable[[ModelResponseChunk], None]
_ROLES = {Role.SYSTEM: "system", Role.USER: "user", Role.MODEL: "assistant"}
_SIGN_OF_LIFE = ModelResponseChunk(role=Role.MODEL, content=[])


class Transport(Protocol):
    """Carries one request and reads its answer."""

    @abstractmethod
    async def ask(self, body: Body, answer: Answer, on_text: OnText) -> None:
        """Send the body and read until the answer is complete, full, or the provider is done.

        Nothing that happens after the answer is finished is an error. Cancelling closes the
        upstream call.

        Raises:
            Exception: of the client in use; `diagnosis` knows them.
        """


class ProviderModel(OpenAIModel):
    """A model of the provider over one of the transports."""

    def __init__(self, model: str, transport: Transport, quirks: KnownQuirks) -> None:
        # Not super().__init__(): it wants the SDK client, which costs 0.1 s and may stay unused.
        self._model = model
        self._transport = transport
        self._quirks = quirks

    async def _generate(self, request: ModelRequest[OpenAIConfig]) -> ModelResponse:
        body = await self._get_openai_request_config(request)
        body.pop("stream_options", None)
        response = await self._ask(body, request.config, lambda _: None)
        return self._clean_json_response(response, request)

    async def _generate_stream(
        self, request: ModelRequest[OpenAIConfig], callback: _OnChunk
    ) -> ModelResponse:
        body = await self._get_openai_request_config(request)
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        response = await self._ask(body, request.config, lambda text: callback(_chunk(text)))
        return self._clean_json_response(response, request)

    async def _ask(self, body: Body, config: OpenAIConfig | None, on_text: OnText) -> ModelResponse:
        """Ask, and ask again without what the provider names as refused."""
        quirks = known = self._quirks.of(self._model)
        while True:
            sent = quirks.fitted(body)
            answer = Answer(max_output_tokens=config.max_tokens if config else None)
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
        if quirks != known:
            self._quirks.remember(self._model, quirks)
        return response

    def _get_messages(self, messages: list[Message]) -> list[dict[str, Any]]:
        """As the plug-in, but at once for a message that is one text."""
        found: list[dict[str, Any]] = []
        for message in messages:
            role = _ROLES.get(message.role) if isinstance(message.role, Role) else None
            text = message.content[0].text if role and len(message.content) == 1 else None
            if text is None:
                found.extend(super()._get_messages([message]))
            else:
                found.append({"role": role, "content": text})
        return found


def _chunk(text: str) -> ModelResponseChunk:
    if not text:
        return _SIGN_OF_LIFE
    return ModelResponseChunk(role=Role.MODEL, content=[Part.from_text(text)])
