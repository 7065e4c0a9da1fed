"""Repositories for tests that are no story: every call is a transaction of its own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, cast

from chatbot.domain.ports.counters import Counters
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.ports.storage import (
    Storage,
    Transaction,
    UserRepository,
)
from chatbot.domain.repositories.attempts import AttemptRepository

ANSWERS_WITHIN_S = 60


class _Repository:
    def __init__(self, name: str, storage: Storage, loop: asyncio.AbstractEventLoop) -> None:
        self._name, self._storage, self._loop = name, storage, loop

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            def work(tx: Transaction) -> Any:
                return getattr(getattr(tx, self._name), method)(*given, **named)

            done = asyncio.run_coroutine_threadsafe(self._storage.transact(work), self._loop)
            return done.result(ANSWERS_WITHIN_S)

        return call


@dataclass(frozen=True, kw_only=True)
class _Transaction(Transaction):
    """The attempts are counted in an exclusive section, which is one call too."""

    apart: AttemptRepository

    @property
    def attempts(self) -> AttemptRepository:
        return self.apart


@contextmanager
def each_call_apart(storage: Storage) -> Iterator[Transaction]:
    """The repositories, to be called here and now, from a loop or without one."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield _Transaction(
            sessions=cast(SessionLog, _Repository("sessions", storage, loop)),
            users=cast(UserRepository, _Repository("users", storage, loop)),
            counters=cast(Counters, _Repository("counters", storage, loop)),
            apart=cast(AttemptRepository, _Repository("attempts", storage, loop)),
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
