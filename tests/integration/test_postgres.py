"""Postgres as a store: a server that restarts, is down, or disappears."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

import psycopg
import pytest

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.domain.errors import StorageUnavailable
from postgres import PostgresServer, postgres_server

CONNECTIONS = 4


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        upgrade(PostgresDatabase(server.url("postgres"), connections=1, prepared=True))
        yield server


@pytest.fixture
async def storage(own_server: PostgresServer) -> AsyncIterator[SqlStorage]:
    """A store with all its connections open."""
    url = own_server.url("postgres")
    database = PostgresDatabase(url, connections=CONNECTIONS, prepared=True)
    async with SqlStorage(database, replica="test") as storage:
        await use_all_connections(storage)
        yield storage


async def use_all_connections(storage: SqlStorage) -> None:
    await asyncio.gather(*(storage.check() for _ in range(3 * CONNECTIONS)))


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash])
async def test_restart_while_idle_is_not_noticed(
    storage: SqlStorage, own_server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    end(own_server)
    own_server.start()
    await use_all_connections(storage)


async def test_store_is_unavailable_while_the_server_is_down_and_comes_back_by_itself(
    storage: SqlStorage, own_server: PostgresServer
) -> None:
    own_server.stop()
    for _ in range(2 * CONNECTIONS):
        with pytest.raises(StorageUnavailable):
            await storage.check()
    own_server.start()
    await use_all_connections(storage)


def test_lost_server_is_noticed(postgres_tables: str) -> None:
    """The default takes two hours, because a connection waiting for a result sends nothing."""
    if sys.platform != "linux":
        pytest.skip("others name these options differently")
    database = PostgresDatabase(postgres_tables, connections=1, prepared=True)
    with database.connect() as connection:
        driver = cast(psycopg.Connection, connection.connection.driver_connection)
        with socket.socket(fileno=os.dup(driver.fileno())) as tcp:
            keepalive = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            asks_s = [tcp.getsockopt(socket.IPPROTO_TCP, option) for option in keepalive]
            lost_ms = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert (asks_s, lost_ms) == ([5, 5], 10_000)
