"""Which model answers when `GENKIT_MODEL` does not say."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from chatbot.adapters.llm.genkit_model import chat_models, is_chat_model
from chatbot.domain.errors import ModelFailure, cause_of
from chatbot.entrypoints.settings import EMBEDDED_MODEL, OPENAI_MODEL, Settings, SettingsError


def with_model_name(settings: Settings) -> Settings:
    """The settings with `GENKIT_MODEL` decided: asks another provider than OpenAI for its models.

    Raises:
        SettingsError: it has none or several, or does not answer.
    """
    if settings.genkit_model:
        _require_known(settings, settings.genkit_model)
        return settings
    if not settings.openai_base_url:
        name = OPENAI_MODEL if settings.openai_api_key else EMBEDDED_MODEL
        return settings.model_copy(update={"genkit_model": name})
    try:
        models = served_models(settings)
    except ModelFailure as error:
        raise SettingsError(
            f"OPENAI_BASE_URL: its models cannot be listed ({cause_of(error)}). "
            "Mend the address or the key, or set GENKIT_MODEL."
        ) from error
    if len(models) != 1:
        names = ", ".join(f"openai/{name}" for name in models) or "none"
        raise SettingsError(f"GENKIT_MODEL: set it to one of the provider's models: {names}")
    return settings.model_copy(update={"genkit_model": f"openai/{models[0]}"})


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
    """The chat models that the provider lists.

    Raises:
        ModelFailure: it does not answer, or not with a list.
    """
    key = settings.openai_api_key
    asking = chat_models(
        wire=settings.model_wire,
        base_url=settings.openai_base_url,
        api_key=key.get_secret_value() if key else None,
        connect_timeout_s=settings.model_connect_timeout_s,
    )
    with ThreadPoolExecutor(1) as pool:  # uvicorn's factory is called inside its event loop
        return pool.submit(asyncio.run, asking).result()
