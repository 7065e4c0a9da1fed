"""The language model: provider, parameters and limits."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from chatbot.entrypoints.settings.subject import File, Seconds, Subject

OPENAI_MODEL = "openai/gpt-4.1-mini"
"""The pinned default for OpenAI itself: current, without hidden reasoning tokens."""
EMBEDDED_MODEL = "local/extractive"
EMBEDDED = (
    f"{EMBEDDED_MODEL}: embedded, not a language model; to connect one, set OPENAI_API_KEY or "
    "OPENAI_BASE_URL"
)
"""What an operator reads about the embedded model; those who chat cannot change it."""
OLD_TRANSPORT = "model_wire"
"""The former name of MODEL_TRANSPORT, still accepted."""


def _transport(name: object) -> object:
    """Returns the transport; the old values of MODEL_WIRE are still accepted."""
    return {"lean": "aiohttp", "plugin": "sdk"}.get(str(name), name)


def checked_url(value: str | None) -> str | None:
    """Returns the URL of a provider. A password in it would be sent instead of the key.

    Raises:
        ValueError: it is not one, or contains a user name or password.
    """
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if value and not _is_address(value):
        raise ValueError(
            "must be http://HOST:PORT/PATH or https://..., without a user name or password"
        )
    return value


def _is_address(url: str) -> bool:
    """Whether the URL has a host, an optional port, and no user."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:  # an unclosed bracket, or an invalid port
        return False


class ModelSettings(Subject):
    """OPENAI_..., GENKIT_MODEL and MODEL_..."""

    model_config = ConfigDict(alias_generator="model_{}".format)

    api_key: SecretStr | None = Field(default=None, alias="openai_api_key")
    api_key_file: File | None = Field(default=None, alias="openai_api_key_file")
    base_url: str | None = Field(default=None, alias="openai_base_url")
    name: str | None = Field(default=None, alias="genkit_model")
    transport: Annotated[Literal["aiohttp", "sdk"], BeforeValidator(_transport)] = Field(
        default="aiohttp", validation_alias=AliasChoices("model_transport", OLD_TRANSPORT)
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    system_role: Literal["system", "developer", "none"] | None = None
    reasoning_effort: str | None = Field(default=None, pattern="^[A-Za-z_]{1,32}$")
    strip_thinking: bool = True
    max_output_tokens: int = Field(default=1024, ge=16)
    context_tokens: int = Field(default=8192, ge=1024)
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_concurrent: int = Field(default=32, ge=1)
    connect_timeout_s: Seconds = 3
    first_token_timeout_s: Seconds = 30
    idle_timeout_s: Seconds = 15
    turn_timeout_s: Seconds = 120

    @field_validator("base_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        return checked_url(value)

    @model_validator(mode="after")
    def _leave_room_for_the_prompt(self) -> Self:
        if self.max_output_tokens * 2 > self.context_tokens:
            raise ValueError("MODEL_CONTEXT_TOKENS: must be at least twice MODEL_MAX_OUTPUT_TOKENS")
        return self

    @property
    def raw_api_key(self) -> str | None:
        """The provider's key in plain text."""
        return self.api_key.get_secret_value() if self.api_key else None

    @property
    def has_provider(self) -> bool:
        """Whether an OpenAI-compatible provider is configured."""
        return bool(self.base_url or self.api_key)

    @property
    def max_turns_per_client(self) -> int:
        """Number of turns that one client can run at once for itself, without a user."""
        return max(2, self.max_concurrent // 4)
