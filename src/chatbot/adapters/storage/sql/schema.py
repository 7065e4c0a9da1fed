"""The state of a database's tables, and whether this version can work on them."""

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from chatbot.adapters.storage.sql.tables import RECORD_TABLES, REVISIONS
from chatbot.domain.errors import StorageUnavailable

VERSION_TABLE = "chatbot_schema"
_version = Table(VERSION_TABLE, MetaData(), Column("version_num", Text))


def current(connection: Connection) -> str | None:
    """Returns the revision of the tables; None if there are none.

    Raises:
        StorageUnavailable: the tables belong to another application.
    """
    names = inspect(connection).get_table_names()
    if VERSION_TABLE in names:
        return connection.execute(select(_version.c.version_num)).scalar()
    if names:
        raise StorageUnavailable(
            "The database contains tables of another application. Fix: use a database of its "
            "own for the chatbot."
        )
    return None


def require_current(connection: Connection) -> None:
    """Check that the tables have this version's schema.

    Raises:
        StorageUnavailable: they do not; the message names the command that fixes it.
    """
    found = current(connection)
    if found is None:
        raise StorageUnavailable(
            "The database is empty. Fix: run `chatbot init` to create its tables."
        )
    require_known(found)
    if found != REVISIONS[-1] or missing_tables(connection):
        raise StorageUnavailable(
            f"The database has the older schema {found}. Fix: stop the service, make a backup "
            "with the version that created it, and run `chatbot db upgrade`."
        )


def missing_tables(connection: Connection) -> list[Table]:
    """Return the tables of records that the database lacks: those of new kinds."""
    names = set(inspect(connection).get_table_names())
    return [table for table in RECORD_TABLES if table.name not in names]


def require_known(found: str | None) -> None:
    """Check that this version knows the revision, or there is none.

    Raises:
        StorageUnavailable: it belongs to a newer version.
    """
    if found is not None and found not in REVISIONS:
        raise StorageUnavailable(
            f"The database has the schema {found} of a newer version. Fix: use that version."
        )
