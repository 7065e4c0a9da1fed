"""Chooses the model: the one in `GENKIT_MODEL`, or the provider's only one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from chatbot.adapters.llm.diagnosis import explanation
from chatbot.adapters.llm.network import OPENAI_URL, endpoint_of
from chatbot.adapters.llm.openai_plugin import is_chat_model
from chatbot.adapters.llm.provider import chat_models
from chatbot.domain.errors import ModelFailure
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.model import EMBEDDED_MODEL, OPENAI_MODEL
from chatbot.entrypoints.settings.subject import SettingsError


def with_model_name(settings: Settings) -> Settings:
    """Returns the settings with `GENKIT_MODEL` set, if necessary by asking the provider.

    Raises:
        SettingsError: the provider has no model or several, or does not answer.
    """
    name = model_name(settings)
    if name is None:
        try:
            name = only_model(served_models(settings))
        except ModelFailure as error:
            raise SettingsError(
                f"OPENAI_BASE_URL: its models cannot be listed: {explanation(error, settings.model.base_url or OPENAI_URL)} "
                "Or set GENKIT_MODEL."
            ) from error
    return settings.with_model(name)


def model_name(settings: Settings) -> str | None:
    """Returns the model if the settings determine it; None if the provider has to be asked.

    Raises:
        SettingsError: the configured model cannot be used.
    """
    if settings.model.name:
        _require_known(settings, settings.model.name)
        return settings.model.name
    if settings.model.base_url:
        deployment = endpoint_of(settings.model.base_url).deployment
        return f"openai/{deployment}" if deployment else None
    return OPENAI_MODEL if settings.model.api_key else EMBEDDED_MODEL


def only_model(served: list[str]) -> str:
    """Returns the Genkit name of a provider's only chat model.

    Raises:
        SettingsError: the provider has no chat model or several.
    """
    if len(served) == 1:
        return f"openai/{served[0]}"
    names = ", ".join(f"openai/{name}" for name in served) or "none"
    raise SettingsError(f"GENKIT_MODEL: set it to one of the provider's models: {names}")


def is_listed(name: str, served: list[str]) -> bool:
    """Whether the list contains the model; Ollama lists `llama3.2` as `llama3.2:latest`."""
    model_id = name.removeprefix("openai/")
    return model_id in served or f"{model_id}:latest" in served


def _require_known(settings: Settings, name: str) -> None:
    """Reject a name that cannot be used.

    Raises:
        SettingsError: the name is neither an embedded model nor, with a provider, one of the
            plug-in's chat models.
    """
    if name == EMBEDDED_MODEL:
        return
    model_id = name.removeprefix("openai/")
    if name == model_id or not is_chat_model(model_id):
        raise SettingsError(
            f"GENKIT_MODEL: {name} is not a chat model. Use openai/NAME or {EMBEDDED_MODEL}."
        )
    if not settings.model.has_provider:
        raise SettingsError(f"GENKIT_MODEL: {name} needs OPENAI_API_KEY or OPENAI_BASE_URL.")


def served_models(settings: Settings) -> list[str]:
    """Returns the chat models that the provider lists, using the configured transport.

    Raises:
        ModelFailure: the provider does not answer, or not with a list.
    """
    key = settings.model.api_key
    asking = chat_models(
        transport=settings.model.transport,
        base_url=settings.model.base_url,
        api_key=key.get_secret_value() if key else None,
        connect_timeout_s=settings.model.connect_timeout_s,
    )
    with ThreadPoolExecutor(1) as pool:  # uvicorn calls the factory inside its event loop
        return pool.submit(asyncio.run, asking).result()
