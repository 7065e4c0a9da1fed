"""Upgrades a database's tables with the Alembic migrations of this package.

Apart from `schema`, since importing Alembic takes time that the service does not need.
"""

from collections.abc import Iterable

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect

from chatbot.adapters.storage.sql.database import Database, SqlSession, translated
from chatbot.adapters.storage.sql.message_indexing import index_messages
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.schema import current, missing_tables, require_known
from chatbot.adapters.storage.sql.storage import build_database
from chatbot.adapters.storage.sql.tables import REVISIONS, table_of
from chatbot.domain.ports.backend import Progress, StorageUrl, Tables, unreported
from chatbot.domain.ports.records import AnyKind
from chatbot.domain.transaction import KINDS

_INDEXED = "0010"
"""The first revision with a search index."""
_MIGRATIONS = "chatbot.adapters.storage.sql:migrations"


class SqlTables(Tables):
    """The tables of a database, with Alembic's migrations of this package."""

    def __init__(self, url: StorageUrl) -> None:
        self._url, self._database = url, build_database(url)

    def version(self) -> str | None:
        with translated(), self._database.connect() as connection:
            return current(connection)

    def upgrade(self, progress: Progress = unreported) -> str:
        self._database.create()
        before, after = upgrade(self._database, progress)
        if before == after:
            return f"{self._url} already has the newest schema: {after}"
        return f"{self._url}: schema {before or 'none'} -> {after}"


def upgrade(database: Database, progress: Progress = unreported) -> tuple[str | None, str | None]:
    """Upgrade the tables to the newest revision in one transaction; only one of several concurrent
    calls does it.

    Messages that have not been indexed yet are indexed, which takes long, so progress is reported.

    Returns:
        The previous revision, None for an empty database, and the current one.

    Raises:
        StorageUnavailable: the database cannot be reached or used, contains tables of another
            application, or has a newer version.
    """
    with translated(), database.connect() as connection:
        database.require_usable(connection)
        database.lock_schema(connection)
        before = current(connection)
        require_known(before)
        if before != REVISIONS[-1] or missing_tables(connection):
            database.require_changeable(connection)
        command.upgrade(configured(connection), "head")
        make_tables(connection, KINDS)
        if before is None:
            _put_initial(connection)
        elif before < _INDEXED:
            index_messages(connection, progress)
        after = current(connection)
        connection.commit()
    return before, after


def make_tables(connection: Connection, kinds: Iterable[AnyKind]) -> None:
    """Create the tables of the kinds that have none, with the records of a new store."""
    names = set(inspect(connection).get_table_names())
    for kind in kinds:
        if kind.name not in names:
            table_of(kind).create(connection)
            for record in kind.initial:
                SqlRecords(SqlSession(connection)).put(kind, record, expected=None)


def _put_initial(connection: Connection) -> None:
    """Store the records of a new store as this version has them, not as a migration made them."""
    records = SqlRecords(SqlSession(connection))
    for kind in KINDS:
        for record in kind.initial:
            old = records.get(kind, *kind.key_of(record))
            if old != record:
                records.put(kind, record, expected=old)


def configured(connection: Connection) -> Config:
    """Returns the Alembic configuration for this connection and its transaction."""
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS)
    config.attributes["connection"] = connection
    return config
