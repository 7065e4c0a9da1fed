"""Whether a Postgres database can hold what we store, and lets our account read and write it.

Checked at the start: otherwise each turn would fail, or text would be damaged without an error.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, Row, text

from chatbot.adapters.storage.sql.schema import VERSION_TABLE
from chatbot.adapters.storage.sql.tables import metadata
from chatbot.domain.errors import StorageUnavailable

_DATABASE = text("""
SELECT current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS is_standby,
       current_setting('default_transaction_read_only') = 'on' AS is_read_only,
       current_schema() IS NOT NULL AS has_schema,
       quote_ident(coalesce(current_schema(), 'public')) AS schema,
       quote_ident(current_database()) AS database,
       quote_ident(current_user) AS account
""")
_TABLES = text("""
SELECT c.relname AS name, pg_has_role(c.relowner, 'USAGE') AS is_owner, array(
           SELECT privilege FROM unnest(CAST(:privileges AS text[])) AS privilege
           WHERE NOT has_table_privilege(c.oid, privilege)
       ) AS missing
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = ANY(CAST(:names AS text[])) AND c.relkind IN ('r', 'p')
""")
_MAY_CREATE = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
_PRIVILEGES = ["SELECT", "INSERT", "UPDATE", "DELETE"]


def require_usable(connection: Connection) -> None:
    """Check that the database stores any text, accepts writes, and lets us use our tables.

    Raises:
        StorageUnavailable: otherwise; the text names the command that fixes it.
    """
    found = connection.execute(_DATABASE).one()
    if found.encoding != "UTF8":
        raise StorageUnavailable(
            f"The database {found.database} has the encoding {found.encoding}, which "
            "cannot store every text. Fix: create one with `createdb -E UTF8 -T template0 "
            "NAME` and name it in STORAGE_URL."
        )
    if found.is_standby:
        raise StorageUnavailable(
            "This Postgres server is a standby and accepts no writes. Fix: name the "
            "primary server in STORAGE_URL, or promote this one with `SELECT "
            "pg_promote()`."
        )
    if found.is_read_only:
        raise StorageUnavailable(
            f"The database {found.database} is read-only for {found.account} "
            "(default_transaction_read_only). "
            f"{_fix(found, f'ALTER DATABASE {found.database} RESET default_transaction_read_only')}"
            f" (or ALTER ROLE {found.account}, where it is set for the account)."
        )
    if not found.has_schema:
        grant = f"GRANT USAGE, CREATE ON SCHEMA {found.schema} TO {found.account}"
        raise StorageUnavailable(
            f"The account {found.account} may not use the schema {found.schema}. "
            f"{_fix(found, grant)}."
        )
    _require_open(found, _tables(connection))


def require_changeable(connection: Connection) -> None:
    """Check that the account may create tables, and change our existing ones.

    Raises:
        StorageUnavailable: it may not; the text names the command that fixes it.
    """
    found = connection.execute(_DATABASE).one()
    if not connection.execute(_MAY_CREATE).scalar():
        grant = f"GRANT USAGE, CREATE ON SCHEMA {found.schema} TO {found.account}"
        raise StorageUnavailable(
            f"The account {found.account} may not create tables in the schema "
            f"{found.schema}. {_fix(found, grant)}."
        )
    foreign = sorted(table.name for table in _tables(connection) if not table.is_owner)
    if foreign:
        raise StorageUnavailable(
            f"The account {found.account} does not own {', '.join(foreign)} and may not "
            "change them. Fix: run this command with the owner of the tables in "
            "STORAGE_URL."
        )


def _tables(connection: Connection) -> Collection[Row[tuple[str, bool, list[str]]]]:
    names = [VERSION_TABLE, *metadata.tables]
    return connection.execute(_TABLES, {"names": names, "privileges": _PRIVILEGES}).all()


def _require_open(
    found: Row[tuple[object, ...]], tables: Iterable[Row[tuple[str, bool, list[str]]]]
) -> None:
    missing = {privilege for table in tables for privilege in table.missing}
    if missing:
        privileges = ", ".join(_PRIVILEGES)
        grant = f"GRANT {privileges} ON ALL TABLES IN SCHEMA {found.schema} TO {found.account}"
        lacking = ", ".join(one for one in _PRIVILEGES if one in missing)
        raise StorageUnavailable(
            f"The account {found.account} lacks {lacking} on some tables of the schema "
            f"{found.schema}. {_fix(found, grant)}."
        )


def _fix(found: Row[tuple[object, ...]], statement: str) -> str:
    return f"Fix: as the owner of the database `psql -d {found.database} -c '{statement}'`"
