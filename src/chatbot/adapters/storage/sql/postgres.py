"""Postgres: a pool of connections, and as many threads to wait for its answers."""

import asyncio
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    create_engine,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from chatbot.adapters.storage.sql.database import (
    Database,
    SqlSession,
    Turns,
    Values,
    codes_of,
    translated,
)
from chatbot.adapters.storage.sql.postgres_rights import require_changeable, require_usable
from chatbot.adapters.storage.threads import Threads
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.storage import ROOM_BYTES, Found

CONNECT_TIMEOUT_S = 5
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
_LOST_AFTER_S = 10
"""A server that vanished sends no packet: a machine without power, a network that was cut."""
_LIMITS = {
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
}
"""A replica that hangs in a transaction must not block the others."""
_UNDONE = {"40P01", "40001"}
"""PostgreSQL's deadlock_detected and serialization_failure: nothing of the transaction is left."""
_TRIES = 5
_LIMITS_HERE = text(
    "SELECT " + ", ".join(f"set_config('{name}', :{name}, true)" for name in _LIMITS)
)
_SMALL_MEMORY = text("SELECT set_config('work_mem', '64kB', true)")  # the least that there is
_SORT = text("SELECT md5(n::text) FROM generate_series(1, :rows) AS n ORDER BY 1 OFFSET :rows")
_BYTES_OF_A_ROW = 64
_SCHEMA_LOCK = 0x63686174626F74  # "chatbot"
_PREPARE_THRESHOLD = 5
"""psycopg's own: a statement is prepared on the server when it is run for the fifth time."""
_CONNECTION_FIXES = {  # by the first pattern that matches the server's message
    "startup parameter": "behind a PgBouncer set POSTGRES_PREPARED_STATEMENTS=false",  # it passes on some only
    "^database .* does not exist": "create it with `createdb -E UTF8 -T template0 NAME`",
    "^permission denied for database": "allow it with `GRANT CONNECT ON DATABASE ... TO ...`",
    "authentication failed|no password": "correct the account or the password in STORAGE_URL",
    "": "start the server, or correct STORAGE_URL",
}


class _StaleConnection(SQLAlchemyError):
    """The connection had ended before the first statement of the transaction: nothing was done."""


class _PostgresSession(SqlSession):
    """Knows whether the server has executed any of them."""

    is_begun = False

    def _execute(
        self, statement: Executable, values: Values | Sequence[Values] | None = None
    ) -> CursorResult[Any]:
        found = super()._execute(statement, values)
        self.is_begun = True
        return found


class PostgresDatabase(Database):
    """A database of a Postgres server, or of a PgBouncer in front of it.

    Args:
        connections: how many there are at most. Half of them are for the steps of turns, which are
            pipelined, the others for as many pieces of work at once.
        prepared: whether a connection is one to the server for as long as it lasts, so that
            statements can be prepared and limits set for all of it. Behind a PgBouncer in
            transaction mode it is not.
    """

    def __init__(self, url: str, *, connections: int, prepared: bool) -> None:
        self._url, self._prepared = make_url(url).set(drivername="postgresql+psycopg"), prepared
        self._connections, self._pipelines = connections, connections // 2 if prepared else 0
        self._options = ""
        self._pool: Engine | None = None
        self._threads: Threads | None = None

    def open(self) -> None:
        given = [str(self._url.query.get("options", ""))]  # as in `?options=-c search_path=...`
        options = " ".join(given + [f"-c {name}={value}" for name, value in _LIMITS.items()])
        self._options = options
        arguments = {"options": options} if self._prepared else {}
        pool = self._engine(QueuePool, arguments, size=self._connections - self._pipelines)
        _first(pool).close()
        self._pool = pool
        self._threads = Threads(self._connections - self._pipelines, name="chatbot-postgres")

    def close(self) -> None:
        threads, self._threads = self._threads, None
        pool, self._pool = self._pool, None
        if threads is not None:
            threads.end()
        if pool is not None:
            pool.dispose()

    def run(self, work: Callable[[SqlSession], Found]) -> "asyncio.Future[Found]":
        pool = self._pool
        if self._threads is None or pool is None:
            raise StorageUnavailable("The store is not open.")
        return self._threads.run(lambda: self._transacted(pool, work))

    def _transacted(self, pool: Engine, work: Callable[[SqlSession], Found]) -> Found:
        """Do the work; retry on a new connection if the server had closed this one.

        Checking the connection each time would cost a round trip. Work that the server has undone,
        because another transaction and it were waiting for each other, is done again, too.
        """
        with translated():
            for _ in range(_TRIES - 1):
                try:
                    return self._attempt(pool, work)
                except _StaleConnection:  # the pool has dropped all that are as old
                    continue
                except DBAPIError as error:
                    if not _is_undone(error):
                        raise
            return self._attempt(pool, work)

    def _attempt(self, pool: Engine, work: Callable[[SqlSession], Found]) -> Found:
        with pool.begin() as connection:
            statements = _PostgresSession(connection)
            try:
                if not self._prepared:
                    statements.write(_LIMITS_HERE, _LIMITS)
                found = work(statements)
            except DBAPIError as error:
                if error.connection_invalidated and not statements.is_begun:
                    raise _StaleConnection from error
                raise
        for call in statements.on_commit:
            call()
        return found

    def turns(self) -> Turns | None:
        """Only on a connection of its own: a PgBouncer mixes up what is pipelined and prepared."""
        if not self._pipelines:
            return None
        from chatbot.adapters.storage.sql.postgres_turns import PostgresTurns  # noqa: PLC0415 - psycopg is optional

        return PostgresTurns(self._of_pipelines(), count=self._pipelines)

    def _of_pipelines(self) -> dict[str, Any]:
        """The arguments for connecting without SQLAlchemy; times must be in UTC."""
        _, given = self._engine(NullPool, {}).dialect.create_connect_args(self._url)
        options = f"{self._options} -c timezone=UTC -c datestyle=ISO"
        return {**given, **self._arguments({"options": options})}

    def create(self) -> None:
        """No-op: databases are created by the server's administrator."""

    def exists(self) -> bool:
        return True

    def connect(self, *, to_read: bool = False) -> Connection:
        connection = _first(self._engine(NullPool, {}))
        if not to_read:  # not "read write" outright: a standby refuses that before it says why
            return connection.execution_options(isolation_level="READ COMMITTED")
        return connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    def require_room(self, connection: Connection) -> None:
        """Have the server sort more than it may in memory, so that it writes a temporary file.

        A row that is written and undone may go where there was room before, and leaves work for
        the vacuum.
        """
        connection.execute(_SMALL_MEMORY)
        connection.execute(_SORT, {"rows": 4 * ROOM_BYTES // _BYTES_OF_A_ROW})

    def inspect(self, connection: Connection) -> list[str]:
        settings = {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in _DURABLE}
        return [
            f"{name} is off: a power failure can lose acknowledged turns. Fix: set it to on"
            for name, value in settings.items()
            if value == "off"
        ]

    def require_usable(self, connection: Connection) -> None:
        require_usable(connection)

    def require_changeable(self, connection: Connection) -> None:
        require_changeable(connection)

    def set_timeouts(self, connection: Connection) -> None:
        connection.execute(_LIMITS_HERE, _LIMITS)

    def lock_schema(self, connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})

    def _engine(
        self, pool: type[NullPool] | type[QueuePool], options: dict[str, str], *, size: int = 0
    ) -> Engine:
        if find_spec("psycopg") is None:
            raise StorageUnavailable(
                "Postgres needs psycopg. Fix: install the extra `postgres`; in a checkout, run "
                "`make install`."
            )
        sizes = {"pool_size": size, "max_overflow": 0} if size else {}
        return create_engine(
            self._url,
            poolclass=pool,
            connect_args=self._arguments(options),
            **sizes,
        )

    def _arguments(self, options: dict[str, str]) -> dict[str, object]:
        return {
            **options,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _LOST_AFTER_S * 1000,
            "keepalives_idle": _LOST_AFTER_S
            // 2,  # a client that waits for an answer sends nothing else
            "keepalives_interval": _LOST_AFTER_S // 2,
            "application_name": "chatbot",
            "client_encoding": "utf8",  # whatever PGCLIENTENCODING or the account's settings say
            "prepare_threshold": _PREPARE_THRESHOLD if self._prepared else None,
        }


def _is_undone(error: BaseException | None) -> bool:
    """Whether a deadlock or a conflict is the cause, which statements that followed it may hide."""
    while error is not None:
        if isinstance(error, DBAPIError) and error.orig and codes_of(error.orig) & _UNDONE:
            return True
        error = error.__context__
    return False


def _first(engine: Engine) -> Connection:
    """Connect; the error quotes the server's message."""
    try:
        return engine.connect()
    except DBAPIError as error:
        first = str(error.orig).strip().partition("\n")[0]
        message = re.split("FATAL: | failed: ", first)[-1].strip()
        fix = next(fix for pattern, fix in _CONNECTION_FIXES.items() if re.search(pattern, message))
        raise StorageUnavailable(f"No connection to Postgres ({message}). Fix: {fix}.") from error
