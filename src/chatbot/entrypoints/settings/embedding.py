"""The embedding model, which adds meaning to the search by words."""

import re
from typing import Self

from pydantic import ConfigDict, Field, SecretStr, field_validator

from chatbot.entrypoints.settings.model import ModelSettings, checked_url
from chatbot.entrypoints.settings.subject import File, Seconds, Subject


class EmbeddingSettings(Subject):
    """EMBEDDING_..."""

    model_config = ConfigDict(alias_generator="embedding_{}".format)

    model: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_file: File | None = None
    timeout_s: Seconds = Field(default=5, alias="embedding_timeout_seconds")

    @field_validator("model")
    @classmethod
    def _is_a_providers(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"openai/\S+", value):
            raise ValueError("must be openai/NAME, as in openai/text-embedding-3-small")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        return checked_url(value)

    @property
    def raw_api_key(self) -> str | None:
        """Its own key in plain text."""
        return self.api_key.get_secret_value() if self.api_key else None

    def completed(self, model: ModelSettings) -> Self:
        """Return these settings with the provider of the language model where they name none.

        Its key is sent to its own URL only.
        """
        if self.base_url:
            return self
        given = {"base_url": model.base_url, "api_key": self.api_key or model.api_key}
        return self.model_copy(update=given)
