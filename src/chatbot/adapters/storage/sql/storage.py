"""`SqlStorage`: transactions on a database, and the leases of this process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Self

from sqlalchemy import Connection, text

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.blobs import SqlBlobs
from chatbot.adapters.storage.sql.counter_statements import (
    ADD_COUNTERS,
    addition_values,
    exceeding_of,
    lock_name,
)
from chatbot.adapters.storage.sql.counters import SqlCounters
from chatbot.adapters.storage.sql.database import Database, SqlSession, Turns
from chatbot.adapters.storage.sql.index_rows import index_rows_of
from chatbot.adapters.storage.sql.journal import SqlJournal
from chatbot.adapters.storage.sql.lease_renewal import LeaseRenewal
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.rows import decoded_record
from chatbot.adapters.storage.sql.schema import require_current
from chatbot.adapters.storage.sql.session_statements import LEASE_S, RENEW_S
from chatbot.adapters.storage.sql.sessions import SqlSessions
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.turn_statements import (
    FIND_CALLER,
    STORE_ANSWER,
    STORE_MEMORY,
    STORE_QUESTION,
    TurnRow,
    TurnStatement,
    TurnValues,
)
from chatbot.adapters.storage.sql.turns import (
    analysed,
    answer_values,
    caller_of,
    context_of,
    memory_values,
    question_values,
)
from chatbot.domain.chat import Lease, Message, Question, SessionId, TurnContext
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import FamilyId, Owner, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.person_memory import MEMORY_ON, MemorySettings
from chatbot.domain.ports.backend import StorageOptions, StorageUrl
from chatbot.domain.ports.counters import Addition, Bill
from chatbot.domain.ports.storage import Found, Storage, StoredCaller
from chatbot.domain.transaction import Transaction

ANSWER_S = 40.0


class SqlStorage(Storage):
    """Sessions, users and counters in a database, which several processes may share.

    Guaranteed: a transaction is complete and durable when `transact` returns, or has no effect, if
    the database itself guarantees that (SQLite with `synchronous = FULL`, Postgres with
    `synchronous_commit` and `fsync` on, as they are by default).

    Data read before the first write of a transaction may be outdated when it writes.

    Args:
        replica: the name of this process among those that share the database.
        lease_s: for how long a session stays held after its process has stopped renewing.
        renew_s: how often a process renews its leases.
        answer_s: how long to wait for the database, which bounds most of it by itself; not if it
            hangs. Writes after that are not acknowledged.
    """

    def __init__(
        self,
        database: Database,
        *,
        replica: str,
        lease_s: float = LEASE_S,
        renew_s: float = RENEW_S,
        answer_s: float = ANSWER_S,
        memory_default: MemorySettings = MEMORY_ON,
    ) -> None:
        self._database, self._replica = database, replica
        self._memory_default = memory_default
        self._lease_s, self._answer_s = lease_s, answer_s
        self._leases = LeaseRenewal(
            self._do, lease_s=lease_s, renew_s=renew_s, before=self._give_up
        )
        self._turns: Turns | None = None
        self._index_cache = IndexCache()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StorageUnavailable: the database cannot be reached or used, or does not have this
                version's tables; the message says how to fix it.
        """
        await asyncio.to_thread(self._database.open)
        try:
            await self._do(lambda sql: self._require_ready(sql.connection))
            self._turns = self._database.turns()
            if self._turns is not None:
                await self._turns.open()
        except BaseException:
            await asyncio.to_thread(self._database.close)
            raise
        self._leases.start()
        return self

    def _require_ready(self, connection: Connection) -> None:
        self._database.require_usable(connection)
        require_current(connection)

    async def __aexit__(self, *exc_info: object) -> None:
        await self._leases.aclose()
        turns, self._turns = self._turns, None
        if turns is not None:
            await turns.aclose()
        await asyncio.to_thread(self._database.close)

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        return await self._do(lambda sql: work(self._transaction(sql)))

    async def find_caller(self, user_id: UserId, family_id: FamilyId | None = None) -> StoredCaller:
        row = await self._execute(FIND_CALLER, {"user_id": user_id, "family_id": family_id})
        return await super().find_caller(user_id, family_id) if row is None else caller_of(row)

    async def store_question(self, question: Question) -> TurnContext:
        prepare = partial(question_values, replica=self._replica, lease_s=self._lease_s)
        values = await analysed(question.text, partial(prepare, question))
        row = await self._execute(STORE_QUESTION, values)
        if row is None:
            return await super().store_question(question)
        try:
            return context_of(question, row)
        except (Damaged, ValueError) as error:
            await self.transact(lambda tx: tx.sessions.release(question.lease))
            raise Damaged("session: a value is not valid") from error

    async def store_answer(self, lease: Lease, answer: Message, bill: Bill | None = None) -> None:
        values = await analysed(answer.content, partial(answer_values, lease, answer))
        settling = self._settling(bill)
        row = await self._execute(STORE_ANSWER, values)
        left = await self._unsettled(bill, settling)
        if row is None:
            await super().store_answer(lease, answer, left)
        elif left is not None:
            await self.transact(lambda tx: tx.settle(left))

    async def add_counts(
        self, additions: Sequence[Addition], *, now: datetime
    ) -> Sequence[Addition]:
        locks = [lock_name(each.key) for each in additions]
        row = await self._execute(ADD_COUNTERS, addition_values(additions, now), locks=locks)
        if row is None:
            return await super().add_counts(additions, now=now)
        return exceeding_of(additions, row[0])

    async def store_memory(
        self,
        owner: Owner,
        session_id: SessionId,
        memory: Memory,
        *,
        epoch: int,
        bill: Bill | None = None,
    ) -> bool:
        settling = self._settling(bill)
        row = await self._execute(
            STORE_MEMORY, memory_values(owner, session_id, memory, epoch=epoch)
        )
        left = await self._unsettled(bill, settling)
        if row is None:
            return await super().store_memory(owner, session_id, memory, epoch=epoch, bill=left)
        if left is not None:
            await self.transact(lambda tx: tx.settle(left))
        return True

    def _settling(self, bill: Bill | None) -> "asyncio.Future[bool] | None":
        """Settle the bill together with the statement that is executed next."""
        return None if bill is None or self._turns is None else self._turns.settle(bill)

    async def _unsettled(
        self, bill: Bill | None, settling: "asyncio.Future[bool] | None"
    ) -> Bill | None:
        """Return the bill if it is still to be settled."""
        return None if settling is not None and await self._bounded(settling) else bill

    async def _execute(
        self, statement: TurnStatement, values: TurnValues, *, locks: Collection[str] = ()
    ) -> TurnRow | None:
        if self._turns is None:
            return None
        return await self._bounded(self._turns.execute(statement, values, locks=locks))

    async def _do(self, work: Callable[[SqlSession], Found]) -> Found:
        return await self._bounded(self._database.run(work))

    async def _bounded(self, done: Awaitable[Found]) -> Found:
        try:
            async with asyncio.timeout(self._answer_s):
                return await done
        except TimeoutError as error:
            raise StorageUnavailable("The store does not answer.") from error

    def _transaction(self, sql: SqlSession) -> Transaction:
        index = StoredIndex(index_rows_of(sql), self._index_cache)
        return Transaction(
            sessions=SqlSessions(sql, index, replica=self._replica, lease_s=self._lease_s),
            index=index,
            records=SqlRecords(sql),
            counters=SqlCounters(sql),
            journal=SqlJournal(sql),
            blobs=SqlBlobs(sql),
            is_atomic=True,
            on_commit=sql.on_commit,
            memory_default=self._memory_default,
        )

    def renewing(self, lease: Lease) -> AbstractContextManager[None]:
        return self._leases.renewing(lease)

    def _give_up(self) -> None:
        """Fail the turns that the database has not answered."""
        if self._turns is not None:
            self._turns.give_up(self._answer_s)

    def forget(self) -> None:
        decoded_record.cache_clear()
        self._index_cache.clear()

    async def check(self) -> None:
        """Acquire the write lock without changing anything, and check that there is room."""

        def checked(sql: SqlSession) -> None:
            sql.write(text("UPDATE roles SET name = name WHERE 1 = 0"))
            self._database.require_room(sql.connection)

        await self._do(checked)

    async def inspect(self) -> Sequence[str]:
        return await self._database.run(lambda tx: self._database.inspect(tx.connection))


def build_database(url: StorageUrl, options: StorageOptions | None = None) -> Database:
    """Returns the database, not open yet; without options, as commands use it."""
    options = options or StorageOptions()
    if url.path is not None:
        return SqliteDatabase(url.path)
    return PostgresDatabase(
        url.raw, connections=options.connections, prepared=options.prepared_statements
    )
