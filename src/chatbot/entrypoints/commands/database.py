"""`chatbot db`: the tables of SQLite and Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager

from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.backend import Tables
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError
from chatbot.entrypoints.storage_backends import backend_of


def upgrade(settings: Settings) -> str:
    """Upgrades the tables, or creates those of an empty database; returns a message for the user.

    Raises:
        SettingsError: the database is unavailable, or belongs to another application.
    """
    with _tables(settings) as tables:
        return tables.upgrade()


def schema(settings: Settings) -> str:
    """Returns a sentence with the schema version of the tables.

    Raises:
        SettingsError: the database is unavailable, or belongs to another application.
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
