"""All settings, by subject; the environment variables are the fields' aliases in upper case.

`.env.example` explains each in a sentence.
"""

from typing import Self

from pydantic import ConfigDict, model_validator

from chatbot.entrypoints.settings.auth import AuthSettings
from chatbot.entrypoints.settings.documents import DocumentSettings
from chatbot.entrypoints.settings.embedding import EmbeddingSettings
from chatbot.entrypoints.settings.limits import LimitsSettings
from chatbot.entrypoints.settings.model import ModelSettings
from chatbot.entrypoints.settings.recall import RecallSettings
from chatbot.entrypoints.settings.secret_strength import check_distinct
from chatbot.entrypoints.settings.service import (
    AssistantSettings,
    AuditSettings,
    HttpSettings,
    LogSettings,
    MemorySettings,
    RetentionSettings,
    StorageSettings,
)
from chatbot.entrypoints.settings.subject import Subject
from chatbot.entrypoints.settings.telemetry import TelemetrySettings


class Settings(Subject):
    """The settings of a process, read by `loading.load_settings`."""

    model_config = ConfigDict(extra="forbid")

    auth: AuthSettings
    audit: AuditSettings
    model: ModelSettings
    embedding: EmbeddingSettings
    assistant: AssistantSettings
    storage: StorageSettings
    memory: MemorySettings
    recall: RecallSettings
    documents: DocumentSettings
    limits: LimitsSettings
    retention: RetentionSettings
    http: HttpSettings
    log: LogSettings
    telemetry: TelemetrySettings

    @model_validator(mode="after")
    def _share_the_store(self) -> Self:
        if self.http.workers > 1 and not self.storage.url.is_persistent:
            raise ValueError(
                "STORAGE_URL: memory: cannot be shared by workers: set WORKERS=1, or use "
                "json:DIR or sqlite:///FILE"
            )
        return self

    @model_validator(mode="after")
    def _have_a_provider_of_embeddings(self) -> Self:
        used = self.embedding.completed(self.model)
        if used.model and not (used.base_url or used.api_key):
            raise ValueError(
                "EMBEDDING_MODEL: needs a provider: set OPENAI_API_KEY or OPENAI_BASE_URL, or "
                "EMBEDDING_BASE_URL"
            )
        return self

    @model_validator(mode="after")
    def _use_each_secret_once(self) -> Self:
        for name, key in (
            ("OPENAI_API_KEY", self.model.raw_api_key),
            ("EMBEDDING_API_KEY", self.embedding.raw_api_key),  # may be the same
        ):
            check_distinct(
                [
                    *self.auth.named_secrets(),
                    (name, key or ""),
                    ("STORAGE_URL", self.storage.url.password),
                    ("LIMITS_URL", self.limits.url.password if self.limits.url else ""),
                ]
            )
        return self

    def with_model(self, name: str) -> Self:
        """Returns the same settings with another GENKIT_MODEL."""
        return self.model_copy(update={"model": self.model.model_copy(update={"name": name})})
