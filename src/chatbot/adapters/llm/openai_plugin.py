"""Genkit's OpenAI plug-in, but with our own transport and parsing of answers.

Names, metadata, config and the request's body are the plug-in's own. This is the only module that
uses private names of Genkit and of the plug-in, where they cannot be extended otherwise.
`tests/unit/test_private_names.py` lists them: read their source again before upgrading.
"""

import copy
from collections.abc import Callable
from typing import Any

from genkit import (
    Action,
    ActionRunContext,
    Message,
    ModelRequest,
    ModelResponse,
    ModelResponseChunk,
    Part,
    Role,
)
from genkit_openai import OpenAI
from genkit_openai.models.handler import OpenAIModelHandler
from genkit_openai.models.model import OpenAIModel
from genkit_openai.openai_plugin import _classify_model, _is_known_unsupported, _ModelType
from genkit_openai.typing import OpenAIConfig

from chatbot.adapters.llm.chat_completions import ChatCompletions, OnText
from chatbot.adapters.llm.quirks import Body
from chatbot.adapters.llm.sdk_transport import SdkTransport

_OnChunk = Callable[[ModelResponseChunk], None]
_ROLES = {Role.SYSTEM: "system", Role.USER: "user", Role.MODEL: "assistant"}
_SIGN_OF_LIFE = ModelResponseChunk(role=Role.MODEL, content=[])


def is_chat_model(model_id: str) -> bool:
    """Whether the plug-in considers a model of this name a chat model."""
    return bool(model_id) and _classify_model(model_id) is _ModelType.CHAT


def is_served_by_chat_completions(openai_model_id: str) -> bool:
    """Whether OpenAI serves this model of its own by chat completions."""
    return not _is_known_unsupported(openai_model_id)


class ProviderOpenAI(OpenAI):
    """The plug-in with its chat models over `completions`, and with a faster start.

    Models of other kinds, and tools, still use the SDK: only the Developer UI calls them.
    """

    def __init__(self, completions: ChatCompletions, sdk: SdkTransport) -> None:
        super().__init__()
        self._runtime_client = sdk.client
        self._completions = completions
        self._template: Action | None = None

    def _create_model_action(self, name: str) -> Action:
        """Return the plug-in's action for a model as a copy of the first one.

        Creating one takes 25 ms on the event loop, nearly all of it for JSON schemas that are the
        same for all 31 chat models.
        """
        # Not the plug-in's replace(): it also cuts the "openai/" inside "openai/openai/gpt-oss".
        local = name.removeprefix("openai/")
        if self._template is None:
            self._template = super()._create_model_action(name)
        action = copy.copy(self._template)
        schema = self._template.metadata["model"]["customOptions"]  # type: ignore[index]  # a JSON object, typed as object
        info = {**(self.get_model_info(local) or {}), "customOptions": schema}
        # Not through the public API: every new Action generates its schemas.
        action._name = name  # noqa: SLF001
        action._metadata = {**self._template.metadata, "model": info}  # noqa: SLF001
        action._fn = self._generate_with(local)  # noqa: SLF001
        return action

    def _generate_with(self, local: str) -> Callable[..., Any]:
        async def _generate(
            request: ModelRequest[OpenAIConfig], ctx: ActionRunContext
        ) -> ModelResponse:
            model = (
                OpenAIModel(local, self._runtime_client())
                if request.tools
                else _ProviderModel(local, self._completions)
            )
            return await OpenAIModelHandler(model).generate(request, ctx)

        return _generate


class _ProviderModel(OpenAIModel):
    """The plug-in's chat model, which builds the request's body, over `ChatCompletions`."""

    def __init__(self, model: str, completions: ChatCompletions) -> None:
        # Not super().__init__(): it requires the SDK client, which may never be used.
        self._model = model
        self._completions = completions

    async def _generate(self, request: ModelRequest[OpenAIConfig]) -> ModelResponse:
        body = await self._get_openai_request_config(request)
        body.pop("stream_options", None)
        return await self._ask(body, request, lambda _: None)

    async def _generate_stream(
        self, request: ModelRequest[OpenAIConfig], callback: _OnChunk
    ) -> ModelResponse:
        body = await self._get_openai_request_config(request)
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return await self._ask(body, request, lambda text: callback(_chunk(text)))

    async def _ask(
        self, body: Body, request: ModelRequest[OpenAIConfig], on_text: OnText
    ) -> ModelResponse:
        limit = request.config.max_tokens if request.config else None
        response = await self._completions.ask(
            self._model, body, max_output_tokens=limit, on_text=on_text
        )
        return self._clean_json_response(response, request)

    def _get_messages(self, messages: list[Message]) -> list[dict[str, Any]]:
        """As the plug-in, with a fast path for messages that are one text."""
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
