"""`chatbot init` and `chatbot db`: a new `.env`, a new store, and the tables of a database."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.backend import Tables
from chatbot.entrypoints.commands.progress import progress_bar
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.env_file import change
from chatbot.entrypoints.settings.loading import ENV_FILE
from chatbot.entrypoints.settings.rotation import missing_secrets
from chatbot.entrypoints.settings.secret_strength import random_secret
from chatbot.entrypoints.settings.subject import SettingsError
from chatbot.entrypoints.storage_backends import backend_of

_HEAD = "# Written by `chatbot init`. .env.example explains every setting. Keep this file to yourself.\n"
_REQUIRED = ("API_KEY", "JWT_SECRET")
_SECRETS = (*_REQUIRED, "API_KEY_PEPPER", "AUDIT_KEY")


def write_env() -> str:
    """Write `.env` into the working directory with mode 0600; returns a message for the user.

    It contains no secret that the environment has, and is not written if that has the required
    ones: replicas derive the others from JWT_SECRET.
    """
    given = {name for name in _SECRETS if _is_in_environment(name)}
    if not ENV_FILE.exists() and given.issuperset(_REQUIRED):
        return f"wrote no .env, because the environment has {' and '.join(_REQUIRED)}"
    try:
        handle = os.open(ENV_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return f"{ENV_FILE.absolute()} already exists and was not changed"
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        missing = [name for name in _SECRETS if name not in given]
        file.write(_HEAD + "".join(f"{name}={random_secret()}\n" for name in missing))
    return f"wrote {ENV_FILE.absolute()}"


def _is_in_environment(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def upgrade_env(settings: Settings) -> str:
    """Append the missing secrets to `.env`, with their current values; returns a message for the user.

    Raises:
        SettingsError: the file does not exist or cannot be changed.
    """
    if not ENV_FILE.exists():
        raise SettingsError(".env: does not exist here. Fix: run `chatbot init` without --upgrade.")
    missing = missing_secrets(settings)
    if not missing:
        return f"{ENV_FILE.absolute()} already has every secret and was not changed"
    change(ENV_FILE, missing)
    return f"added {' and '.join(missing)} to {ENV_FILE.absolute()}"


def make_store(settings: Settings) -> str:
    """Creates a new store, or what is missing in one; returns a message for the user.

    Raises:
        SettingsError: the store cannot be created.
    """
    url = settings.storage.url
    try:
        return backend_of(url).create(url)
    except StorageFailure as error:
        why = getattr(error.__cause__, "strerror", None)
        text = f"cannot create a store in {url} ({why})." if why else str(error)
        raise SettingsError(f"STORAGE_URL: {text}") from error


def upgrade(settings: Settings) -> str:
    """Upgrades the tables, or creates those of an empty database; returns a message for the user.

    Raises:
        SettingsError: the database is unavailable, or belongs to another application.
    """
    with _tables(settings) as tables, progress_bar() as progress:
        return tables.upgrade(progress)


def schema(settings: Settings) -> str:
    """Returns a sentence with the schema version of the tables.

    Raises:
        SettingsError: as `upgrade`.
    """
    with _tables(settings) as tables:
        return f"{settings.storage.url}: schema {tables.version() or 'none'}"


@contextmanager
def _tables(settings: Settings) -> Iterator[Tables]:
    url = settings.storage.url
    tables = backend_of(url).tables(url)
    if tables is None:
        raise SettingsError(
            f"STORAGE_URL: {url.scheme}: has no tables; only sqlite:/// and postgresql:// do."
        )
    try:
        yield tables
    except StorageFailure as error:
        raise SettingsError(f"STORAGE_URL: {error}") from error
