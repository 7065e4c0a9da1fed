"""The tables, and the types that both databases return alike."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from chatbot.domain.ports.records import AnyKind
from chatbot.domain.transaction import KINDS

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
)
"""Those of `migrations/versions`, in their order: this version works on the last one."""


class Moment(TypeDecorator[datetime]):
    """An aware moment in UTC, exact to the microsecond. SQLite keeps it as text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # SQLAlchemy's signature
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # SQLAlchemy's signature
        if value is None or value.tzinfo is UTC:
            return value
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


OrderedText = Text().with_variant(Text(collation="C"), "postgresql")
"""A text that is compared by its code points, so that both databases order keys alike."""


class unix_now(FunctionElement[float]):  # noqa: N801 # it reads as the SQL function that it is
    """The present moment by the database's clock, in seconds since 1970."""

    type = Double()
    inherit_cache = True


SQLITE_NOW = "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(unix_now, "sqlite")
def _now_of_sqlite(_: unix_now, __: SQLCompiler, **___: object) -> str:
    return SQLITE_NOW


@compiles(unix_now, "postgresql")
def _now_of_postgres(_: unix_now, __: SQLCompiler, **___: object) -> str:
    return "extract(epoch from clock_timestamp())::float8"


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

sessions = Table(
    "sessions",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("title", Text),  # NULL until the first message of the user
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column(
        "rest", JSON(none_as_null=True)
    ),  # fields without a column; NULL if each has its default
    Column("lease_turn", Text),
    Column("lease_replica", Text),
    Column("lease_until", Double),  # by the database's clock, in seconds since 1970
)
Index("ix_sessions_recent", sessions.c.owner, sessions.c.updated_at.desc(), sessions.c.id)

messages = Table(
    "messages",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("session_id", String(32), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("ts", Moment, nullable=False),
    Column("turn_id", Text, nullable=False),
    Column("reason", Text),
    Column("details", JSON(none_as_null=True)),
    ForeignKeyConstraint(
        ["owner", "session_id"], ["sessions.owner", "sessions.id"], ondelete="CASCADE"
    ),
    sqlite_with_rowid=False,
)

memories = Table(
    "memories",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("session_id", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("content", JSON, nullable=False),
    ForeignKeyConstraint(
        ["owner", "session_id"], ["sessions.owner", "sessions.id"], ondelete="CASCADE"
    ),
)
"""Separate from the sessions, because a turn rewrites its session's row, and memory may be long."""

counters = Table(
    "counters",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", OrderedText, primary_key=True),
    Column("expires_at", Moment, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Index(None, "expires_at"),
    sqlite_with_rowid=False,
)

journal_entries = Table(
    "journal_entries",
    metadata,
    Column("journal", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("content", JSON, nullable=False),
)

journal_labels = Table(
    "journal_labels",
    metadata,
    Column("label", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""The label index of journals: a digest of journal, filter and value for each indexed label."""

journal_blocks = Table(
    "journal_blocks",
    metadata,
    Column("journal", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
)
"""The earliest and the latest moment of each `BLOCK` entries, the last of which has the number `seq`.

Moments hardly ever go back, so that a period is found without an index of all of them.
"""


def _index_on(dialect: str, name: str, *columns: str) -> Index:
    """An index that only one kind of database has."""
    index = Index(name, *columns, info={"dialect": dialect})
    return index.ddl_if(dialect=dialect)


index_segments = Table(
    "index_segments",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("scope", OrderedText, nullable=False),
    Column("count", Integer, nullable=False),
    Column("dead", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),  # last: SQLite reads all of it for a later column
    _index_on("postgresql", "ix_index_segments_scope", "scope"),
    _index_on("sqlite", "ix_index_segments_heads", "scope", "count", "dead"),
)
"""Packed passages of one access class: see `chatbot.adapters.search`.

A search reads all but the data of thousands of rows, on SQLite from an index alone. An index of
Postgres may not have all numbers of `dead`.
"""

index_tail = Table(
    "index_tail",
    metadata,
    Column("scope", OrderedText, primary_key=True),
    Column("parent", OrderedText, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Passages that are in no segment yet."""

index_audiences = Table(
    "index_audiences",
    metadata,
    Column("atom", OrderedText, primary_key=True),
    Column("scope", OrderedText, primary_key=True, index=True),
    sqlite_with_rowid=False,
)
"""Who may read an access class of documents."""

index_vectors = Table(
    "index_vectors",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("scope", OrderedText, nullable=False),
    Column("parent", OrderedText, nullable=False),
    Column("model", OrderedText, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("seqs", LargeBinary, nullable=False),
    Column("signs", LargeBinary, nullable=False),
    Column("codes", LargeBinary, nullable=False),  # last, as above
    Index("ix_index_vectors_parents", "scope", "parent"),
    Index("ix_index_vectors_heads", "scope", "model", "dimension", "id"),
)
"""Some vectors of one parent in an access class."""

blobs = Table(
    "blobs",
    metadata,
    Column("name", OrderedText, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
"""Blobs, in parts."""

# --- records ---------------------------------------------------------------------------------

REST = "record"


class RawJson(TypeDecorator[Any]):
    """JSON that SQLite returns as its text: `rows.record_of` decodes what it has not seen yet."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return None if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


@cache
def table_of(kind: AnyKind) -> Table:
    """Return the table of a kind of record.

    Key, unique and indexed fields are columns, and so is the moment of expiry, as text that sorts;
    the rest is JSON. Derived fields, which the JSON implies, follow it.
    """
    columns: list[Column[Any]] = [
        *(Column(name, OrderedText, primary_key=True) for name in kind.key),
        *(Column(name, OrderedText, nullable=False, unique=True) for name in kind.unique),
        *(Column(name, OrderedText, nullable=False, index=True) for name in kind.indexed),
        *(Column(name, OrderedText, index=True) for name in [kind.expires_at] if name),
        Column(REST, RawJson, nullable=False),
        *(Column(name, OrderedText, nullable=False, server_default="") for name in kind.derived),
    ]
    where = metadata if kind in KINDS else MetaData(naming_convention=metadata.naming_convention)
    return Table(kind.name, where, *columns)


@cache
def stored_columns(kind: AnyKind) -> list[Column[Any]]:
    """Return the columns that make a record, the JSON last."""
    return [column for column in table_of(kind).columns if column.name not in kind.derived]


RECORD_TABLES = [table_of(kind) for kind in KINDS]
