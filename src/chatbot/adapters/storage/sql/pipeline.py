"""Statements to Postgres, sent by the event loop in groups, each a transaction and a round trip.

In libpq's pipeline mode the statements before a sync are one transaction, and the next group may be
sent before the answers are there
(https://www.postgresql.org/docs/current/libpq-pipeline-mode.html). So the statements of concurrent
turns need one message to the server and one commit, and no thread is woken: the store's part of a
turn
takes 0.2 ms of CPU, with a thread and a connection for each piece of work 1.8
(`bench/bench_turn.py`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from psycopg import pq

Value = str | int | float | bytes | None

Result = pq.abc.PGresult
_ENDS = {b"FATAL", b"PANIC"}


class ConnectionLost(Exception):
    """The connection ended. Whether the statement was executed is not known."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A prepared statement to be executed, and the future of its result.

    `done` is None if the group failed: nothing of it was executed then. It raises
    `ConnectionLost` if the connection ends before the answer is there.
    """

    name: bytes
    values: Sequence[bytes | None]
    formats: Sequence[int]
    done: "asyncio.Future[Result | None]"

    @classmethod
    def of(cls, name: str, values: Sequence[Value]) -> Self:
        """A statement for the running event loop.

        Texts and bytes go in binary form: in the other one they would end at a NUL.
        """
        return cls(
            name.encode(),
            [_sent(value) for value in values],
            [int(isinstance(value, str | bytes)) for value in values],
            asyncio.get_running_loop().create_future(),
        )


def _sent(value: Value) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else str(value).encode()


@dataclass(slots=True)
class _Group:
    """Statements between two syncs, and their results so far."""

    statements: Sequence[Statement]
    sent_at: float = field(default_factory=time.monotonic)
    results: list[Result] = field(default_factory=list)

    def end(self) -> None:
        """It is committed, unless one of the results is a failure."""
        has_failed = any(each.status != pq.ExecStatus.TUPLES_OK for each in self.results)
        for number, statement in enumerate(self.statements):
            if not statement.done.done():
                statement.done.set_result(None if has_failed else self.results[number])

    def fail(self, error: Exception | None) -> None:
        for statement in self.statements:
            if not statement.done.done():
                failure = ConnectionLost()
                failure.__cause__ = error
                statement.done.set_exception(failure)


class Pipeline:
    """One connection, used on the event loop that runs when it is `attached`.

    Args:
        connection: an open one; the statements are prepared on it, which blocks.
        statements: their texts by name.
    """

    def __init__(self, connection: psycopg.Connection[Any], statements: Mapping[str, str]) -> None:
        self._connection, self._pg = connection, connection.pgconn
        self._groups: deque[_Group] = deque()
        self.is_lost = False
        for name, statement in statements.items():
            prepared = self._pg.prepare(name.encode(), statement.encode())
            if prepared.status != pq.ExecStatus.COMMAND_OK:
                raise psycopg.OperationalError(prepared.get_error_message())
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()

    def attach(self) -> None:
        """Have the running event loop receive the answers.

        Raises:
            NotImplementedError: the loop cannot wait for a socket, as Windows' default one.
        """
        self._loop, self._socket = asyncio.get_running_loop(), self._pg.socket
        try:
            self._loop.add_reader(self._socket, self._receive)
        except NotImplementedError:
            self._connection.close()
            raise

    @property
    def load(self) -> int:
        """The number of groups that are waiting for their answers."""
        return len(self._groups)

    def is_alive(self) -> bool:
        """Whether statements can be sent. An idle connection may have been closed in the meantime."""
        if not self._groups:
            self._receive()
        return not self.is_lost

    def send(self, statements: Sequence[Statement]) -> None:
        """Execute the statements in one transaction of their own."""
        self._groups.append(_Group(statements))
        try:
            for each in statements:
                self._pg.send_query_prepared(each.name, each.values, each.formats)
            self._pg.pipeline_sync()
            if self._pg.flush():
                self._loop.add_writer(self._socket, self._flush_rest)
        except psycopg.Error as error:
            self._lose(error)

    def give_up(self, after_s: float) -> None:
        """Drop the connection if it has not answered for this long."""
        if self._groups and time.monotonic() - self._groups[0].sent_at > after_s:
            self._lose(TimeoutError("Postgres does not answer."))

    def _flush_rest(self) -> None:
        try:
            if not self._pg.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._lose(error)

    def _receive(self) -> None:
        try:
            self._pg.consume_input()
            while self._groups and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is not None:  # None separates the results of two statements
                    self._take(result)
        except psycopg.Error as error:
            self._lose(error)

    def _take(self, result: Result) -> None:
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self._groups.popleft().end()
        elif result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) in _ENDS:
            raise psycopg.OperationalError(result.get_error_message())
        else:
            self._groups[0].results.append(result)

    def _lose(self, error: Exception | None = None) -> None:
        groups, self._groups = self._groups, deque()
        if not self.is_lost:
            self.is_lost = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._connection.close()
        for group in groups:
            group.fail(error)

    def close(self) -> None:
        """End the connection; waiting statements fail."""
        self._lose()
