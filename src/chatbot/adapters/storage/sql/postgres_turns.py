"""The statements of turns on Postgres: one round trip each, shared by the turns of one moment."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import psycopg

from chatbot.adapters.storage.sql.database import Turns
from chatbot.adapters.storage.sql.pipeline import ConnectionLost, Pipeline, Statement
from chatbot.adapters.storage.sql.turn_statements import (
    TURN_STATEMENTS,
    TurnRow,
    TurnStatement,
    TurnValues,
)
from chatbot.domain.errors import StorageUnavailable

_log = logging.getLogger("chatbot.storage")
_RECONNECT_S = 1.0
PREPARED = {each.name: each.numbered() for each in TURN_STATEMENTS}


class PostgresTurns(Turns):
    """Some pipelined connections. One that is lost is made anew in the background.

    Args:
        arguments: of `psycopg.connect`; in UTF-8, with moments in UTC.
        count: how many.
    """

    def __init__(self, arguments: Mapping[str, Any], *, count: int) -> None:
        self._arguments, self._count = arguments, count
        self._pipelines: list[Pipeline] = []
        self._outgoing: list[Statement] = []
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

    async def execute(self, statement: TurnStatement, values: TurnValues) -> TurnRow | None:
        _, names = PREPARED[statement.name]
        sent = Statement.of(statement.name, [values[name] for name in names])
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._send)
        self._outgoing.append(sent)
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

    def _send(self) -> None:
        """Send what was asked for since the loop's last round, in one group."""
        outgoing = [each for each in self._outgoing if not each.done.done()]
        self._outgoing = []
        alive = [each for each in self._pipelines if each.is_alive()]
        if len(alive) < self._count and self._connecting is None:
            self._connecting = asyncio.create_task(self._reconnect())
        if alive:
            min(alive, key=lambda each: each.load).send(outgoing)
            return
        for statement in outgoing:
            statement.done.set_result(None)

    async def _reconnect(self) -> None:
        """Try once; the next statement after a pause begins the next try."""
        await self.open()
        if len(self._pipelines) < self._count:
            await asyncio.sleep(_RECONNECT_S)
        self._connecting = None
