"""The settings of the service: environment variables, `.env`, and `NAME_FILE` for secrets."""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from chatbot.application.prompt_texts import Language
from chatbot.domain.memory import default_preferences
from chatbot.domain.ports.backend import StorageUrl
from chatbot.domain.text import NotUtf8, decode_utf8, unquoted
from chatbot.entrypoints.lists import Hosts, Networks, Origins
from chatbot.entrypoints.secrets import check_distinct, check_secret
from chatbot.entrypoints.storage_backends import parse_storage_url

SECRETS = ("API_KEY", "JWT_SECRET", "OPENAI_API_KEY")
IN_FILES = (*SECRETS, "STORAGE_URL")
"""Settings that can be read from a file named by `NAME_FILE`."""
ENV_FILE = Path(".env")
OPENAI_MODEL = "openai/gpt-4.1-mini"
"""The pinned default for OpenAI itself: current, without hidden reasoning tokens."""
EMBEDDED_MODEL = "local/extractive"
OLD_TRANSPORT = "model_wire"
"""The former name of `model_transport`, still accepted."""

_ONE_WORD = {"API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"}
_CONTROL = "contains a line break or an invisible character: paste it again, on one line"
_HOW_TO_MAKE_ONE = 'generate one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'

_ENVIRONMENT_ONLY = {  # read by libraries directly from the environment
    *("https_proxy", "http_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"),
    "genkit_env",
}


class SettingsError(Exception):
    """The settings are invalid; each line names one setting and its fix, never a value."""


def _absolute(path: Path) -> Path:
    """Resolves a path against the folder of `.env`, which is the working directory."""
    return path if path.is_absolute() else Path.cwd() / path


def _transport(name: object) -> object:
    """Returns the transport; the old values of MODEL_WIRE are still accepted."""
    return {"lean": "aiohttp", "plugin": "sdk"}.get(str(name), name)


def _is_address(url: str) -> bool:
    """Whether the URL has a host, an optional port, and no user."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:  # an unclosed bracket, or an invalid port
        return False


File = Annotated[Path, AfterValidator(_absolute)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseSettings):
    """All settings; the environment variables have the same names in upper case.

    `.env.example` explains each in a sentence.
    """

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",  # editors on Windows may write a byte order mark
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    api_key: SecretStr
    api_key_file: File | None = None
    jwt_secret: SecretStr
    jwt_secret_file: File | None = None
    jwt_ttl_minutes: int = Field(default=60, ge=1, le=60 * 24)

    openai_api_key: SecretStr | None = None
    openai_api_key_file: File | None = None
    openai_base_url: str | None = None
    genkit_model: str | None = None
    model_transport: Annotated[Literal["aiohttp", "sdk"], BeforeValidator(_transport)] = Field(
        default="aiohttp", validation_alias=AliasChoices("model_transport", OLD_TRANSPORT)
    )
    model_max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    model_system_role: Literal["system", "developer", "none"] | None = None
    model_reasoning_effort: str | None = Field(default=None, pattern="^[A-Za-z_]{1,32}$")
    model_strip_thinking: bool = True
    model_max_output_tokens: int = Field(default=1024, ge=16)
    model_context_tokens: int = Field(default=8192, ge=1024)
    model_temperature: float | None = Field(default=None, ge=0, le=2)
    model_max_concurrent: int = Field(default=32, ge=1)
    model_connect_timeout_s: Seconds = 3
    model_first_token_timeout_s: Seconds = 30
    model_idle_timeout_s: Seconds = 15
    model_turn_timeout_s: Seconds = 120

    assistant_name: str | None = None
    assistant_instructions_file: File | None = None
    default_language: Language | None = None
    assistant_notice: str | None = None

    storage_url: Annotated[StorageUrl, NoDecode, PlainValidator(parse_storage_url)] = Field(
        default="json:data", validate_default=True
    )
    storage_url_file: File | None = None
    postgres_connections: int = Field(default=8, ge=1, le=200)
    postgres_prepared_statements: bool = True
    max_prompt_chars: int = Field(default=4000, ge=1)
    mem_window_messages: int = Field(default=12, ge=2)
    mem_summarize_threshold: int = Field(default=20, ge=0)
    mem_extract_every: int | None = Field(default=None, ge=1)
    mem_idle_seconds: Seconds = 60
    mem_summary_max_words: int = Field(default=140, ge=10, le=600)
    mem_structured_enable: bool = True
    mem_structured_max_items: int = Field(default=20, ge=1, le=200)

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
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] | None = None
    docs_enabled: bool = True

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: dict[str, object]) -> dict[str, object]:
        """Treats empty values as unset (except for the notice), and reads secrets from files.

        Spaces and quotes around a value are stripped: `docker --env-file` keeps quotes, and a
        Kubernetes secret created with `echo` keeps its newline.
        """
        bare = {k: unquoted(v) if isinstance(v, str) else v for k, v in given.items()}
        known = {k: v for k, v in bare.items() if v != "" or k == "assistant_notice"}
        for name in IN_FILES:
            file = known.get(f"{name}_file".lower())
            if file is None:
                continue
            if name.lower() in known:
                raise ValueError(f"{name}: set either it or {name}_FILE, not both")
            known[name.lower()] = _secret_in(name, Path(str(file)))
        for name in (*SECRETS, "STORAGE_URL", "OPENAI_BASE_URL"):
            _require_printable(name, str(known.get(name.lower(), "")))
        return known

    @field_validator("api_key", "jwt_secret")
    @classmethod
    def _is_a_secret(cls, value: SecretStr) -> SecretStr:
        check_secret(value.get_secret_value())
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        """Rejects a password in the URL: it would be sent instead of the key."""
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        if value and not _is_address(value):
            raise ValueError(
                "must be http://HOST:PORT/PATH or https://..., without a user name or password"
            )
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if 0 < self.mem_summarize_threshold < self.mem_window_messages:
            raise ValueError("MEM_SUMMARIZE_THRESHOLD: must be 0 or at least MEM_WINDOW_MESSAGES")
        if self.model_max_output_tokens * 2 > self.model_context_tokens:
            raise ValueError("MODEL_CONTEXT_TOKENS: must be at least twice MODEL_MAX_OUTPUT_TOKENS")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERT_FILE: must be set together with TLS_KEY_FILE")
        if self.workers > 1 and not self.storage_url.is_persistent:
            raise ValueError(
                "STORAGE_URL: memory: cannot be shared by workers: set WORKERS=1, or use "
                "json:DIR or sqlite:///FILE"
            )
        return self

    @model_validator(mode="after")
    def _use_each_secret_once(self) -> Self:
        given = {
            "API_KEY": self.api_key.get_secret_value(),
            "JWT_SECRET": self.jwt_secret.get_secret_value(),
            "OPENAI_API_KEY": self.openai_api_key.get_secret_value() if self.openai_api_key else "",
            "STORAGE_URL": self.storage_url.password,
        }
        check_distinct({name: value for name, value in given.items() if value.strip()})
        return self

    @property
    def has_provider(self) -> bool:
        """Whether an OpenAI-compatible provider is configured."""
        return bool(self.openai_base_url or self.openai_api_key)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def default_preferences(self) -> Mapping[str, str]:
        """The preferences shown in an empty memory."""
        return default_preferences(self.default_language)

    @property
    def max_turns_per_owner(self) -> int:
        """Number of turns that one user, or one client without users, can run at once."""
        return max(2, self.model_max_concurrent // 4)

    def extract_every(self, model_name: str) -> int:
        """Number of user messages between two extractions; 1 for the embedded model, which is
        free.
        """
        return self.mem_extract_every or (1 if model_name.startswith("local/") else 3)

    @cached_property
    def instructions(self) -> str:
        """The company's own system text, verbatim, read once; empty if there is none.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.assistant_instructions_file is None:
            return ""
        try:
            return _text_of(self.assistant_instructions_file)
        except (NotUtf8, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(
                f"ASSISTANT_INSTRUCTIONS_FILE: {self.assistant_instructions_file} cannot be read: "
                f"{why}."
            ) from error


def load_settings(**given: object) -> Settings:
    """Read the settings of this process; `given` settings, from the command line, take precedence.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    _require_readable_env()
    try:
        settings = Settings(**given)  # type: ignore[arg-type] # checked by pydantic
    except ValidationError as error:
        raise SettingsError("\n".join(_line(e["loc"], e["msg"]) for e in error.errors())) from None
    _ = settings.instructions
    if is_developer_mode() and not (settings.is_loopback and settings.workers == 1):
        raise SettingsError(
            "GENKIT_ENV: `dev` would give everyone who can reach the service the "
            "Developer UI's access. Unset it, or use HOST=127.0.0.1 and WORKERS=1."
        )
    return settings


def ignored_names() -> Iterator[str]:
    """Yields a sentence for each name in `.env` that is not a setting and may be misspelt.

    Lines without `=` are skipped: they could be part of a secret.
    """
    for name, value in DotEnvSettingsSource(Settings).env_vars.items():
        if name not in {*Settings.model_fields, OLD_TRANSPORT} and value is not None:
            near = get_close_matches(name, Settings.model_fields, n=1)
            meant = f": did you mean {near[0].upper()}?" if near else ""
            if name in _ENVIRONMENT_ONLY:
                meant = " here: set it in the environment"
            yield f".env: {name.upper()} is not a setting and has no effect{meant}"


def _require_readable_env() -> None:
    """Return if `.env` does not exist, or is readable.

    Raises:
        SettingsError: it is unreadable; without this check, UTF-16 would look like an empty file.
    """
    try:
        if ENV_FILE.is_file():
            decode_utf8(ENV_FILE.read_bytes())
    except NotUtf8 as error:
        raise SettingsError(f".env: cannot be read: {error}.") from error
    except OSError as error:
        raise SettingsError(f".env: cannot be read ({error.strerror}).") from error


def is_developer_mode() -> bool:
    """Whether Genkit opens its reflection server and the flows are registered."""
    return os.environ.get("GENKIT_ENV") == "dev"


def _secret_in(name: str, path: Path) -> str:
    try:
        return unquoted(_text_of(_absolute(path)))
    except NotUtf8 as error:
        raise ValueError(f"{name}_FILE: cannot be read: {error}") from None
    except OSError as error:
        raise ValueError(f"{name}_FILE: cannot be read ({error.strerror})") from None


def _text_of(path: Path) -> str:
    """Returns the text of a file, with line endings normalised to LF.

    Raises:
        NotUtf8: the file has another encoding.
        OSError: the file cannot be read.
    """
    return decode_utf8(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


def _require_printable(name: str, value: str) -> None:
    """Return if the value has no characters that are invalid in headers and URLs.

    Raises:
        ValueError: it has; the message names the setting and the kind of character, never the
            value.
    """
    if any(unicodedata.category(char) in {"Cc", "Cf"} for char in value):
        raise ValueError(f"{name}: {_CONTROL}")
    if name in _ONE_WORD and any(char.isspace() for char in value):
        raise ValueError(f"{name}: contains a space: paste it again without it")
    if name in _ONE_WORD and name != "API_KEY" and not value.isascii():
        raise ValueError(f"{name}: contains a non-ASCII letter: type it again by hand")


def _line(location: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ").rstrip(".")
    if not location:
        return f"{reason}. Fix: see .env.example."
    name = str(location[0]).upper()
    if name not in SECRETS:
        return f"{name}: {reason}. Fix: see .env.example."
    reason = "is not set" if reason == "Field required" else reason
    if not ENV_FILE.exists():
        return (
            f"{name}: {reason}. Fix: there is no .env here; change to its folder, or create "
            "one with `chatbot init`."
        )
    return f"{name}: {reason}. Fix: set it in .env; {_HOW_TO_MAKE_ONE}"
