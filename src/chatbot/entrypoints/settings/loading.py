"""Reads the settings from the environment, `.env`, and files named `NAME_FILE` for secrets."""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from pydantic import AliasChoices, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from chatbot.domain.text import NotUtf8, decode_utf8, unquoted
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.model import OLD_TRANSPORT
from chatbot.entrypoints.settings.subject import SettingsError, Subject, absolute, text_of

SECRETS = (
    *("API_KEY", "JWT_SECRET", "JWT_SECRET_PREVIOUS", "API_KEY_PEPPER", "API_KEY_PEPPER_PREVIOUS"),
    *("AUDIT_KEY", "AUDIT_KEY_PREVIOUS", "OPENAI_API_KEY", "EMBEDDING_API_KEY"),
)
IN_FILES = (*SECRETS, "STORAGE_URL", "LIMITS_URL")
"""Settings that can be read from a file named by `NAME_FILE`."""
ENV_FILE = Path(".env")

_URLS = ("OPENAI_BASE_URL", "EMBEDDING_BASE_URL")
_ONE_WORD = {"API_KEY", "OPENAI_API_KEY", "EMBEDDING_API_KEY", *_URLS}
_CONTROL = "contains a line break or an invisible character: paste it again, on one line"
HOW_TO_MAKE_ONE = 'generate one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'

_ENVIRONMENT_ONLY = {  # read by libraries directly from the environment
    *("https_proxy", "http_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"),
    "genkit_env",
}


class _Source(BaseSettings):
    """Where values come from, as pydantic-settings reads it."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",  # editors on Windows may write a byte order mark
    )


def load_settings(**given: object) -> Settings:
    """Reads the settings of this process; `given` settings, from the command line, take precedence.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    _require_readable_env()
    settings = settings_of({**env_file(), **EnvSettingsSource(_Source).env_vars, **given})
    _ = settings.assistant.instructions
    if is_developer_mode() and not (settings.http.is_loopback and settings.http.workers == 1):
        raise SettingsError(
            "GENKIT_ENV: `dev` would give everyone who can reach the service the "
            "Developer UI's access. Unset it, or use HOST=127.0.0.1 and WORKERS=1."
        )
    return settings


def settings_of(values: Mapping[str, object]) -> Settings:
    """Validates values by their names in lower case; other names are ignored.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    names = (*setting_names(), OLD_TRANSPORT)
    known = {name: values[name] for name in names if values.get(name) is not None}
    try:
        read = _with_files(known)
        return Settings.model_validate(dict.fromkeys(Settings.model_fields, read))
    except ValidationError as error:
        raise SettingsError("\n".join(_line(e["loc"], e["msg"]) for e in error.errors())) from None
    except ValueError as error:
        raise SettingsError(_line((), str(error))) from None


def setting_names() -> list[str]:
    """Returns the names of all settings in lower case."""
    subjects = (cast("type[Subject]", each.annotation) for each in Settings.model_fields.values())
    return [name for subject in subjects for name in _names_in(subject)]


def _names_in(subject: type[Subject]) -> Iterator[str]:
    for name, field in subject.model_fields.items():
        alias = field.validation_alias
        yield str(alias.choices[0] if isinstance(alias, AliasChoices) else alias or name)


def env_file() -> Mapping[str, str | None]:
    """Returns the values in `.env` by their names in lower case."""
    return DotEnvSettingsSource(_Source).env_vars


def ignored_names() -> Iterator[str]:
    """Yields a sentence for each name in `.env` that is not a setting and may be misspelt.

    Lines without `=` are skipped: they could be part of a secret.
    """
    names = setting_names()
    for name, value in env_file().items():
        if name not in {*names, OLD_TRANSPORT} and value is not None:
            near = get_close_matches(name, names, n=1)
            meant = f": did you mean {near[0].upper()}?" if near else ""
            if name in _ENVIRONMENT_ONLY:
                meant = " here: set it in the environment"
            yield f".env: {name.upper()} is not a setting and has no effect{meant}"


def is_developer_mode() -> bool:
    """Whether Genkit opens its reflection server and the flows are registered."""
    return os.environ.get("GENKIT_ENV") == "dev"


def _require_readable_env() -> None:
    """Check that `.env` does not exist, or is readable.

    Raises:
        SettingsError: it is unreadable; without this check, UTF-16 would look like an empty file.
    """
    try:
        if ENV_FILE.is_file():
            decode_utf8(ENV_FILE.read_bytes())
    except NotUtf8 as error:
        raise SettingsError(f".env: cannot be read: {error}.") from error
    except OSError as error:
        raise SettingsError(
            f".env: cannot be read ({error.strerror}). Fix: run this as the account that owns it, or "
            "let this account read it."
        ) from error


def _with_files(given: Mapping[str, object]) -> Mapping[str, object]:
    """Treats empty values as unset (except for the notice), and reads secrets from files.

    Spaces and quotes around a value are stripped: `docker --env-file` keeps quotes, and a
    Kubernetes secret created with `echo` keeps its newline.

    Raises:
        ValueError: a file cannot be read, or a value is not one printable line.
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
    for name in (*IN_FILES, *_URLS):
        _require_printable(name, str(known.get(name.lower(), "")))
    return known


def _secret_in(name: str, path: Path) -> str:
    try:
        return unquoted(text_of(absolute(path)))
    except NotUtf8 as error:
        raise ValueError(f"{name}_FILE: cannot be read: {error}") from None
    except OSError as error:
        raise ValueError(f"{name}_FILE: cannot be read ({error.strerror})") from None


def _require_printable(name: str, value: str) -> None:
    """Check that the value has no characters that are invalid in headers and URLs.

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
    """Returns the line for an error at (subject, setting), or at a subject or all settings."""
    reason = message.removeprefix("Value error, ").rstrip(".")
    if len(location) < 2:
        return f"{reason}. Fix: see .env.example."
    name = str(location[1]).upper()
    if name not in SECRETS:
        return f"{name}: {reason}. Fix: see .env.example."
    reason = "is not set" if reason == "Field required" else reason
    if not ENV_FILE.exists():
        return (
            f"{name}: {reason}. Fix: there is no .env here; change to its folder, or create "
            "one with `chatbot init`."
        )
    return f"{name}: {reason}. Fix: set it in .env; {HOW_TO_MAKE_ONE}"
