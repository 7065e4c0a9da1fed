"""Chooses the model: the one in `GENKIT_MODEL`, or the provider's only one."""

from collections.abc import Sequence

from chatbot.domain.errors import ModelFailure
from chatbot.entrypoints.container.model_parts import build_provider
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
        provider = build_provider(settings)
        try:
            name = only_model(provider.served_models())
        except ModelFailure as error:
            raise SettingsError(
                f"OPENAI_BASE_URL: its models cannot be listed: {provider.explain(error)} "
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
        deployment = build_provider(settings).deployment
        return f"openai/{deployment}" if deployment else None
    return OPENAI_MODEL if settings.model.api_key else EMBEDDED_MODEL


def only_model(served: Sequence[str]) -> str:
    """Returns the Genkit name of a provider's only chat model.

    Raises:
        SettingsError: the provider has no chat model or several.
    """
    if len(served) == 1:
        return f"openai/{served[0]}"
    names = ", ".join(f"openai/{name}" for name in served) or "none"
    raise SettingsError(f"GENKIT_MODEL: set it to one of the provider's models: {names}")


def is_listed(name: str, served: Sequence[str]) -> bool:
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
    if name == model_id or not build_provider(settings).can_chat(model_id):
        raise SettingsError(
            f"GENKIT_MODEL: {name} is not a chat model. Use openai/NAME or {EMBEDDED_MODEL}."
        )
    if not settings.model.has_provider:
        raise SettingsError(f"GENKIT_MODEL: {name} needs OPENAI_API_KEY or OPENAI_BASE_URL.")
