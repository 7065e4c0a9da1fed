"""Repositories whose every call is a transaction of its own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, cast

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

ANSWERS_WITHIN_S = 60

Work = Callable[[Transaction], Any]


class _Repository:
    def __init__(self, name: str, transact: Callable[[Work], Any]) -> None:
        self._name, self._transact = name, transact

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            return self._transact(
                lambda tx: getattr(getattr(tx, self._name), method)(*given, **named)
            )

        return call


class _Calls:
    def __init__(self, transact: Callable[[Work], Any]) -> None:
        self._transact = transact

    def __getattr__(self, name: str) -> _Repository:
        return _Repository(name, self._transact)


def here_and_now(storage: JsonFileStorage) -> Transaction:
    """The repositories of an open store, with blocking calls."""
    return cast(Transaction, _Calls(storage._do))


@contextmanager
def each_call_apart(storage: Storage) -> Iterator[Transaction]:
    """The repositories with synchronous calls, inside an event loop or without one."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    def transact(work: Work) -> Any:
        done = asyncio.run_coroutine_threadsafe(storage.transact(work), loop)
        return done.result(ANSWERS_WITHIN_S)

    try:
        yield cast(Transaction, _Calls(transact))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
