"""The settings of the service, by subject; those of the language model are in `model`."""

from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from chatbot.application.prompt_texts import Language
from chatbot.domain.memory import default_preferences
from chatbot.domain.ports.backend import StorageUrl
from chatbot.domain.text import NotUtf8
from chatbot.entrypoints.settings.lists import Hosts, Networks, Origins
from chatbot.entrypoints.settings.subject import File, Seconds, SettingsError, Subject, text_of
from chatbot.entrypoints.storage_backends import parse_storage_url

_LONGEST_DAYS = 36_500


class AssistantSettings(Subject):
    """ASSISTANT_..., DEFAULT_LANGUAGE and MAX_PROMPT_CHARS."""

    name: str | None = Field(default=None, alias="assistant_name")
    instructions_file: File | None = Field(default=None, alias="assistant_instructions_file")
    language: Language | None = Field(default=None, alias="default_language")
    notice: str | None = Field(default=None, alias="assistant_notice")
    max_prompt_chars: int = Field(default=4000, ge=1)

    @property
    def default_preferences(self) -> Mapping[str, str]:
        """The preferences shown in an empty memory."""
        return default_preferences(self.language)

    @cached_property
    def instructions(self) -> str:
        """The company's own system text, verbatim, read once; empty if there is none.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.instructions_file is None:
            return ""
        try:
            return text_of(self.instructions_file)
        except (NotUtf8, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(
                f"ASSISTANT_INSTRUCTIONS_FILE: {self.instructions_file} cannot be read: {why}."
            ) from error


class StorageSettings(Subject):
    """STORAGE_URL and POSTGRES_..."""

    url: Annotated[StorageUrl, PlainValidator(parse_storage_url)] = Field(
        default="json:data", validate_default=True, alias="storage_url"
    )
    url_file: File | None = Field(default=None, alias="storage_url_file")
    postgres_connections: int = Field(default=8, ge=1, le=200)
    postgres_prepared_statements: bool = True


class MemorySettings(Subject):
    """MEM_...: when and how much the assistant summarises and remembers."""

    model_config = ConfigDict(alias_generator="mem_{}".format)

    window_messages: int = Field(default=12, ge=2)
    summarize_threshold: int = Field(default=20, ge=0)
    summary_max_words: int = Field(default=140, ge=10, le=600)
    structured_enable: bool = True
    structured_max_items: int = Field(default=20, ge=1, le=200)
    extract_every: int | None = Field(default=None, ge=1)
    idle_seconds: Seconds = 60

    @model_validator(mode="after")
    def _summarise_more_than_the_window(self) -> Self:
        if 0 < self.summarize_threshold < self.window_messages:
            raise ValueError("MEM_SUMMARIZE_THRESHOLD: must be 0 or at least MEM_WINDOW_MESSAGES")
        return self

    def extract_every_for(self, model_name: str) -> int:
        """User messages between two extractions; 1 for the embedded model, which is free."""
        return self.extract_every or (1 if model_name.startswith("local/") else 3)


class HttpSettings(Subject):
    """HOST, PORT, WORKERS and the other settings of connections."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    keep_alive_s: int = Field(default=75, ge=1, le=3600)
    trusted_proxies: Networks = ()
    allowed_hosts: Hosts = ()
    cors_allow_origins: Origins = ()
    root_path: str = ""
    tls_cert_file: File | None = None
    tls_key_file: File | None = None
    docs_enabled: bool = True

    @model_validator(mode="after")
    def _have_certificate_and_key(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERT_FILE: must be set together with TLS_KEY_FILE")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class LogSettings(Subject):
    """LOG_LEVEL and LOG_FORMAT: the log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", alias="log_level")
    format: Literal["text", "json"] | None = Field(default=None, alias="log_format")


class AuditSettings(Subject):
    """AUDIT_...: where events are written besides the store, and how long they are kept."""

    model_config = ConfigDict(alias_generator="audit_{}".format)

    stdout: bool = False
    retention_days: int = Field(default=0, ge=0, le=_LONGEST_DAYS)


class RetentionSettings(Subject):
    """RETENTION_...: how long conversations are kept; 0 = forever."""

    model_config = ConfigDict(alias_generator="retention_{}".format)

    sessions_days: int = Field(default=0, ge=0, le=_LONGEST_DAYS)
    messages_days: int = Field(default=0, ge=0, le=_LONGEST_DAYS)
