"""The statements of turns on Postgres: one round trip each, shared by the turns of one moment."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg

from chatbot.adapters.storage.sql.counter_statements import ADD_COUNTERS, LOCK_COUNTERS
from chatbot.adapters.storage.sql.database import Turns, number_of
from chatbot.adapters.storage.sql.pipeline import ConnectionLost, Pipeline, Result, Statement
from chatbot.adapters.storage.sql.settle_statement import SETTLE, settle_values
from chatbot.adapters.storage.sql.turn_statements import (
    TURN_STATEMENTS,
    TurnRow,
    TurnStatement,
    TurnValues,
)
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.counters import Bill

_log = logging.getLogger("chatbot.storage")
_RECONNECT_S = 1.0
_STATEMENTS = (*TURN_STATEMENTS, ADD_COUNTERS, LOCK_COUNTERS, SETTLE)
PREPARED = {each.name: each.numbered() for each in _STATEMENTS}


class PostgresTurns(Turns):
    """Several pipelined connections. A lost one is replaced in the background.

    Args:
        arguments: of `psycopg.connect`; in UTF-8, with moments in UTC.
        count: how many.
    """

    def __init__(self, arguments: Mapping[str, Any], *, count: int) -> None:
        self._arguments, self._count = arguments, count
        self._pipelines: list[Pipeline] = []
        self._outgoing: list[Statement] = []
        self._volatile: list[Statement] = []
        self._reads: list[Statement] = []
        self._locks: set[int] = set()
        self._bills: list[tuple[Bill, asyncio.Future[bool]]] = []
        self._connecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._pipelines = [each for each in self._pipelines if not each.is_lost]
        try:
            while len(self._pipelines) < self._count:
                pipeline = await asyncio.to_thread(self._connected)
                pipeline.attach()
                self._pipelines.append(pipeline)
        except psycopg.Error as error:
            _log.warning("no pipelined connection to Postgres: %s", type(error).__name__)
        except NotImplementedError:  # the event loop of Windows cannot wait for a socket
            self._count = 0

    def _connected(self) -> Pipeline:
        texts = {name: text for name, (text, _) in PREPARED.items()}
        return Pipeline(psycopg.connect(**self._arguments, autocommit=True), texts)

    def give_up(self, after_s: float) -> None:
        for pipeline in self._pipelines:
            pipeline.give_up(after_s)

    async def aclose(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        for pipeline in self._pipelines:
            pipeline.close()

    async def execute(
        self, statement: TurnStatement, values: TurnValues, *, locks: Collection[str] = ()
    ) -> TurnRow | None:
        sent = _statement(statement, values)
        self._send_soon()
        self._group_of(statement).append(sent)
        self._locks.update(map(number_of, locks))
        try:
            found = await sent.done
        except ConnectionLost as error:
            if statement.is_read:
                return None
            raise StorageUnavailable("The store cannot be read or written.") from error
        if found is None or not found.ntuples:
            return None
        row = (found.get_value(0, column) for column in range(found.nfields))
        return [None if value is None else value.decode() for value in row]

    def _group_of(self, statement: TurnStatement) -> list[Statement]:
        if statement.is_read:
            return self._reads
        return self._volatile if statement.is_volatile else self._outgoing

    def settle(self, bill: Bill) -> "asyncio.Future[bool]":
        self._send_soon()
        done = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda each: each.cancelled() or each.exception())
        self._bills.append((bill, done))
        return done

    def _send_soon(self) -> None:
        if not (self._outgoing or self._volatile or self._reads or self._bills):
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Send the statements that were submitted since the loop's last iteration.

        In one group, and in another one the volatile ones that may wait for locks. Callers are
        looked
        up with their requests, if some are counted.
        """
        settling = [_settling(self._bills)] if self._bills else []
        reads, volatile = _wanted(self._reads), _wanted(self._volatile)
        if volatile:
            volatile, reads = self._locked(reads + volatile), []
        groups = (volatile, reads + _wanted(self._outgoing) + settling)
        self._outgoing, self._volatile, self._reads = [], [], []
        self._locks, self._bills = set(), []
        alive = [each for each in self._pipelines if each.is_alive()]
        if len(alive) < self._count and self._connecting is None:
            self._connecting = asyncio.create_task(self._reconnect())
        for group in filter(None, groups):
            if alive:
                min(alive, key=lambda each: each.load).send(group)
                continue
            for statement in group:
                statement.done.set_result(None)

    def _locked(self, group: list[Statement]) -> list[Statement]:
        """The group, with all its locks before it and in their order: there is no deadlock."""
        numbers = ",".join(map(str, sorted(self._locks)))
        lock = _statement(LOCK_COUNTERS, {"numbers": f"{{{numbers}}}"})
        lock.done.add_done_callback(lambda done: done.exception())
        return [lock, *group]

    async def _reconnect(self) -> None:
        """Try once; the next statement after a pause begins the next try."""
        await self.open()
        if len(self._pipelines) < self._count:
            await asyncio.sleep(_RECONNECT_S)
        self._connecting = None


def _statement(statement: TurnStatement, values: TurnValues) -> Statement:
    _, names = PREPARED[statement.name]
    return Statement.of(statement.name, [values[name] for name in names])


def _settling(bills: Sequence[tuple[Bill, "asyncio.Future[bool]"]]) -> Statement:
    """One statement for all the bills, which settles their futures."""
    statement = _statement(SETTLE, settle_values([bill for bill, _ in bills]))

    def report(found: "asyncio.Future[Result | None]") -> None:
        for _, done in bills:
            if done.done():
                continue
            if (error := found.exception()) is None:
                done.set_result(found.result() is not None)
            else:
                failure = StorageUnavailable("The store cannot be read or written.")
                failure.__cause__ = error
                done.set_exception(failure)

    statement.done.add_done_callback(report)
    return statement


def _wanted(statements: list[Statement]) -> list[Statement]:
    """Those whose callers have not been cancelled."""
    return [each for each in statements if not each.done.done()]
