"""The SQL database in `STORAGE_URL`: as a store, and for `init` and the `db` commands.

Imported only when one is configured: SQLAlchemy takes 19 MiB of memory.
"""

import os
import socket

from chatbot.adapters.storage.sql.archive import SqlArchive
from chatbot.adapters.storage.sql.database import Database, translated
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.schema import current
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.archive import WritableArchive
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.settings import Settings, SettingsError
from chatbot.entrypoints.storage_url import StorageKind, StorageUrl


def build_sql_storage(settings: Settings) -> Storage:
    return SqlStorage(build_database(settings), replica=f"{socket.gethostname()}:{os.getpid()}")


def build_sql_archive(url: StorageUrl) -> WritableArchive:
    """Returns all data of a database as an archive, over a connection that suits any PgBouncer."""
    return SqlArchive(_database(url, connections=1, prepared=False))


def build_database(settings: Settings) -> Database:
    """Returns the database, not open yet.

    Raises:
        SettingsError: the settings name none.
    """
    return _database(
        settings.storage_url,
        connections=settings.postgres_connections,
        prepared=settings.postgres_prepared_statements,
    )


def _database(url: StorageUrl, *, connections: int, prepared: bool) -> Database:
    if url.kind is StorageKind.SQLITE and url.path is not None:
        return SqliteDatabase(url.path)
    if url.kind is StorageKind.POSTGRES:
        return PostgresDatabase(url.raw, connections=connections, prepared=prepared)
    raise SettingsError(
        f"STORAGE_URL: {url.kind}: has no tables; only sqlite:/// and postgresql:// do."
    )


def upgrade(settings: Settings) -> str:
    """Upgrade the tables, or create those of an empty database; returns a message for the user.

    Raises:
        SettingsError: the database is unavailable, or belongs to another application.
    """
    from chatbot.adapters.storage.sql.upgrading import upgrade as bring_up  # noqa: PLC0415 - Alembic, 9 MiB

    database = build_database(settings)
    try:
        database.create()
        before, after = bring_up(database)
    except StorageFailure as error:
        raise SettingsError(f"STORAGE_URL: {error}") from error
    if before == after:
        return f"{settings.storage_url} already has the newest schema: {after}"
    return f"{settings.storage_url}: schema {before or 'none'} -> {after}"


def schema(settings: Settings) -> str:
    """Returns the schema version of the tables.

    Raises:
        SettingsError: the database is unavailable, or belongs to another application.
    """
    try:
        with translated(), build_database(settings).connect() as connection:
            found = current(connection)
    except StorageFailure as error:
        raise SettingsError(f"STORAGE_URL: {error}") from error
    return f"{settings.storage_url}: schema {found or 'none'}"
