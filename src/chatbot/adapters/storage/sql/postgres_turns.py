"""The three steps of a turn on Postgres, each in one statement.

What is not the usual turn comes to nothing here and is left to the repositories: a session that is
held, locked, or not there, a question that a crash left open, a statement that fails.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import psycopg

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.sql.database import Turns
from chatbot.adapters.storage.sql.leases import NO_LEASE_S
from chatbot.adapters.storage.sql.pipeline import ConnectionLost, Pipeline, Result, Statement, Value
from chatbot.adapters.storage.sql.postgres_statements import STATEMENTS
from chatbot.adapters.storage.sql.rows import decoded_record, owner_key
from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRole,
    Question,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import Role, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.repositories.users import USERS

_log = logging.getLogger("chatbot.storage")
_RECONNECT_S = 1.0


class PostgresTurns(Turns):
    """Some pipelined connections. One that is lost is made anew in the background.

    Args:
        arguments: of `psycopg.connect`; in UTF-8, with moments in UTC as in ISO 8601.
        count: how many.
        replica, lease_s: as of `SqlStorage`.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        *,
        count: int,
        replica: str,
        lease_s: float,
    ) -> None:
        self._arguments, self._count = arguments, count
        self._replica, self._lease_s = replica, str(lease_s).encode()
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
        return Pipeline(psycopg.connect(**self._arguments, autocommit=True), STATEMENTS)

    def give_up(self, after_s: float) -> None:
        for pipeline in self._pipelines:
            pipeline.give_up(after_s)

    async def aclose(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        for pipeline in self._pipelines:
            pipeline.close()

    async def find_caller(self, user_id: UserId) -> tuple[User | None, Mapping[str, Role]] | None:
        try:
            found = await self._run(b"find_caller", user_id)
        except ConnectionLost:
            return None
        if found is None:
            return None
        key, email, record, roles = _row(found, 0)
        if key is None:
            return None, _roles(roles)
        user = decoded_record(USERS, record or b"", _text(key), _text(email))
        return cast("User", user), _roles(roles)

    async def store_question(self, question: Question) -> TurnContext | None:
        lease = Lease(
            owner=question.owner, session_id=question.session_id, turn_id=question.turn_id
        )
        (asked,) = question.messages_after([])
        found = await self._write(
            b"store_question",
            *_key(lease),
            self._replica,
            self._lease_s,
            _moment(question.ts),
            asked.title or None,
            question.text,
            b"%d" % question.summarized_step,
            b"%d" % (question.history_limit - 1),
            b"%f" % NO_LEASE_S,
        )
        if found is None:
            return None
        rows = [_row(found, number) for number in range(found.ntuples)]
        seq, memory, *_ = rows[0]
        history = [_message(row[2:]) for row in reversed(rows) if row[2] is not None]
        return TurnContext(
            lease=lease,
            memory=_memory(memory),
            history=(*history, replace(asked, seq=int(seq or b""))),
        )

    async def store_answer(self, lease: Lease, answer: Message) -> bool:
        why = None if answer.reason is None else answer.reason.value
        values = (answer.content, _moment(answer.ts), why)
        found = await self._write(b"store_answer", *_key(lease), *values)
        return found is not None

    async def _write(self, name: bytes, *values: Value) -> Result | None:
        """As `_run`; what may have been written is not written again.

        Raises:
            StorageUnavailable: the connection was lost before the answer was there.
        """
        try:
            return await self._run(name, *values)
        except ConnectionLost as error:
            raise StorageUnavailable("The store cannot be read or written.") from error

    async def _run(self, name: bytes, *values: Value) -> Result | None:
        """The rows of a statement; None if it has none, failed, or could not be sent."""
        statement = Statement.of(name, values)
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._send)
        self._outgoing.append(statement)
        found = await statement.done
        return found if found is not None and found.ntuples else None

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
        """Try once; whoever needs a connection after a pause begins the next try."""
        await self.open()
        if len(self._pipelines) < self._count:
            await asyncio.sleep(_RECONNECT_S)
        self._connecting = None


# --- values and rows -------------------------------------------------------------------------

Row = list[bytes | None]


def _key(lease: Lease) -> tuple[str, str, str]:
    return owner_key(lease.owner), lease.session_id, lease.turn_id


def _moment(moment: datetime) -> bytes:
    return moment.astimezone(UTC).isoformat().encode()


def _row(found: Result, number: int) -> Row:
    return [found.get_value(number, column) for column in range(found.nfields)]


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _message(row: Row) -> Message:
    seq, role, content, ts, turn_id, reason = row
    return Message(
        seq=int(seq or b""),
        role=MessageRole(_text(role)),
        content=_text(content),
        ts=datetime.fromisoformat(_text(ts)),
        turn_id=TurnId(_text(turn_id)),
        reason=None if reason is None else InterruptReason(_text(reason)),
    )


def _memory(content: bytes | None) -> Memory:
    return Memory() if content is None else codec(Memory).from_json(json.loads(content), "memory")


@lru_cache(maxsize=4)
def _roles(found: bytes | None) -> Mapping[str, Role]:
    """The roles, kept: they seldom change, and everybody who calls has some."""
    named = json.loads(found or b"{}")
    return {
        name: codec(Role).from_json({**each, "name": name}, "role") for name, each in named.items()
    }
