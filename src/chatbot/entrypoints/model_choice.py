"""Which model answers: the one that `GENKIT_MODEL` names, or the provider's only one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from chatbot.adapters.llm.diagnosis import explanation
from chatbot.adapters.llm.network import OPENAI_URL, endpoint_of
from chatbot.adapters.llm.openai_plugin import is_chat_model
from chatbot.adapters.llm.provider import chat_models
from chatbot.domain.errors import ModelFailure
from chatbot.entrypoints.settings import EMBEDDED_MODEL, OPENAI_MODEL, Settings, SettingsError


def with_model_name(settings: Settings) -> Settings:
    """The settings with `GENKIT_MODEL` decided: asks another provider than OpenAI for its models.

    Raises:
        SettingsError: it has none or several, or does not answer.
    """
    name = model_name(settings)
    if name is None:
        try:
            name = only_model(served_models(settings))
        except ModelFailure as error:
            raise SettingsError(
                f"OPENAI_BASE_URL: its models cannot be listed: {explanation(error, settings.openai_base_url or OPENAI_URL)} "
                "Or set GENKIT_MODEL."
            ) from error
    return settings.model_copy(update={"genkit_model": name})


def model_name(settings: Settings) -> str | None:
    """The model as far as the settings alone say it; None where the provider has to be asked.

    Raises:
        SettingsError: it can be no model here.
    """
    if settings.genkit_model:
        _require_known(settings, settings.genkit_model)
        return settings.genkit_model
    if settings.openai_base_url:
        deployment = endpoint_of(settings.openai_base_url).deployment
        return f"openai/{deployment}" if deployment else None
    return OPENAI_MODEL if settings.openai_api_key else EMBEDDED_MODEL


def only_model(served: list[str]) -> str:
    """The Genkit name of a provider's only chat model.

    Raises:
        SettingsError: it has none or several.
    """
    if len(served) == 1:
        return f"openai/{served[0]}"
    names = ", ".join(f"openai/{name}" for name in served) or "none"
    raise SettingsError(f"GENKIT_MODEL: set it to one of the provider's models: {names}")


def is_listed(name: str, served: list[str]) -> bool:
    """Whether a provider's list has the model; Ollama lists `llama3.2` as `llama3.2:latest`."""
    model_id = name.removeprefix("openai/")
    return model_id in served or f"{model_id}:latest" in served


def _require_known(settings: Settings, name: str) -> None:
    """Refuse a name that can be no model here.

    Raises:
        SettingsError: it is neither ours nor, with a provider, one of the plug-in's chat models.
    """
    if name == EMBEDDED_MODEL:
        return
    model_id = name.removeprefix("openai/")
    if name == model_id or not is_chat_model(model_id):
        raise SettingsError(
            f"GENKIT_MODEL: {name} is no chat model. Write openai/NAME, or {EMBEDDED_MODEL}."
        )
    if not settings.has_provider:
        raise SettingsError(f"GENKIT_MODEL: {name} needs OPENAI_API_KEY or OPENAI_BASE_URL.")


def served_models(settings: Settings) -> list[str]:
    """The chat models that the provider lists, asked for over the transport in use.

    Raises:
        ModelFailure: it does not answer, or not with a list.
    """
    key = settings.openai_api_key
    asking = chat_models(
        transport=settings.model_transport,
        base_url=settings.openai_base_url,
        api_key=key.get_secret_value() if key else None,
        connect_timeout_s=settings.model_connect_timeout_s,
    )
    with ThreadPoolExecutor(1) as pool:  # uvicorn's factory is called inside its event loop
        return pool.submit(asyncio.run, asking).result()
