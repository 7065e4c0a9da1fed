"""The stores behind the URLs of SQLite and Postgres."""

from contextlib import closing

from chatbot.adapters.storage.sql.database import Database, translated
from chatbot.adapters.storage.sql.export import SqlExport
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.schema import current
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.identity import DEFAULT_ROLES, Role
from chatbot.domain.ports.backend import StorageOptions, StorageUrl, Tables
from chatbot.domain.ports.export import Change, ExportTarget
from chatbot.domain.ports.storage import Storage


def build_database(url: StorageUrl, options: StorageOptions | None = None) -> Database:
    """Returns the database, not open yet; without options, as commands use it."""
    options = options or StorageOptions()
    if url.path is not None:
        return SqliteDatabase(url.path)
    return PostgresDatabase(
        url.raw, connections=options.connections, prepared=options.prepared_statements
    )


def build_storage(url: StorageUrl, options: StorageOptions) -> Storage:
    return SqlStorage(build_database(url, options), replica=options.replica)


def build_export(url: StorageUrl) -> ExportTarget:
    return SqlExport(build_database(url))


class SqlTables(Tables):
    """The tables of a database, with Alembic's migrations of this package."""

    def __init__(self, url: StorageUrl) -> None:
        self._url, self._database = url, build_database(url)

    def version(self) -> str | None:
        with translated(), self._database.connect() as connection:
            return current(connection)

    def upgrade(self) -> str:
        # Alembic takes 9 MiB of memory, and the service does not need it.
        from chatbot.adapters.storage.sql.upgrading import upgrade  # noqa: PLC0415

        self._database.create()
        before, after = upgrade(self._database)
        if before == after:
            return f"{self._url} already has the newest schema: {after}"
        return f"{self._url}: schema {before or 'none'} -> {after}"


def create(url: StorageUrl) -> str:
    """Creates the tables, which include the roles; restores the roles if all were deleted."""
    done = SqlTables(url).upgrade()
    with build_export(url) as export, closing(export.items()) as items:
        if isinstance(next(items, None), Role):
            return done
        export.put([Change(role, over=None) for role in DEFAULT_ROLES.values()])
    return f"{done}; created the roles {' and '.join(DEFAULT_ROLES)}"
