"""Postgres as a store: what a wrong setting says at the start, and a server that restarts."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import sql

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.schema import require_current
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.domain.errors import StorageUnavailable
from chatbot.entrypoints import logs
from chatbot.entrypoints.cli import main
from chatbot.entrypoints.http import server
from postgres import PASSWORD, PostgresServer, command, postgres_server
from service import API_KEY, JWT_SECRET

CONNECTIONS = 4
Start = Callable[..., str]


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Start]:
    """Run a command that is to fail over its settings; return the one line that it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", API_KEY)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)  # as in test_commands
    address = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(
        server, "listen", lambda _: address
    )  # `serve` leaves it to the process's end

    def run(url: str, *arguments: str) -> str:
        monkeypatch.setenv("STORAGE_URL", url)
        with pytest.raises(SystemExit) as ended:
            main(list(arguments) or ["serve"])
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert PASSWORD not in err
        [line] = err.splitlines()
        return line

    with address:
        yield run


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (PASSWORD, "guess", 'password authentication failed for user "postgres"'),
        ("postgres:", "stranger:", 'password authentication failed for user "stranger"'),
        ("127.0.0.1", "nowhere.invalid", "nowhere.invalid"),
        ("/chatbot_", "/no_chatbot_", "does not exist"),
    ],
)
def test_address_that_does_not_lead_there_is_named_at_the_start(
    start: Start, postgres_tables: str, right: str, wrong: str, words: str
) -> None:
    said = start(postgres_tables.replace(right, wrong))
    assert said.startswith("chatbot: STORAGE_URL: No connection to Postgres (")
    assert words in said


def test_empty_database_and_one_of_another_application_are_named_at_the_start(
    start: Start, postgres_database: str
) -> None:
    assert "`chatbot init`" in start(postgres_database)
    command(postgres_database, sql.SQL("CREATE TABLE users ()"))
    for arguments in ([], ["db", "upgrade"], ["db", "current"]):
        said = start(postgres_database, *arguments)
        assert "STORAGE_URL: The database holds tables of another application" in said


def test_newer_and_older_schema_are_named_with_the_mend(
    start: Start, postgres_database: str
) -> None:
    database = PostgresDatabase(postgres_database, connections=1, prepared=True)
    upgrade(database)
    with (
        database.connect() as connection,
        pytest.raises(StorageUnavailable, match=r"older schema 0001: .* `chatbot db upgrade`"),
    ):
        require_current(connection, ["0001", "0002"])
    command(postgres_database, sql.SQL("UPDATE chatbot_schema SET version_num = '9999'"))
    for arguments in ([], ["db", "upgrade"]):
        assert "schema 9999 of a newer version: run that" in start(postgres_database, *arguments)


def test_missing_extra_is_named_at_the_start(
    start: Start, postgres_tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "STORAGE_URL: Postgres needs psycopg: install the extra" in start(postgres_tables)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        upgrade(PostgresDatabase(server.url("postgres"), connections=1, prepared=True))
        yield server


@pytest.fixture
async def storage(own_server: PostgresServer) -> AsyncIterator[SqlStorage]:
    """With all its connections open."""
    url = own_server.url("postgres")
    database = PostgresDatabase(url, connections=CONNECTIONS, prepared=True)
    async with SqlStorage(database, replica="test") as storage:
        await use_all_connections(storage)
        yield storage


async def use_all_connections(storage: SqlStorage) -> None:
    await asyncio.gather(*(storage.check() for _ in range(3 * CONNECTIONS)))


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash])
async def test_restart_in_a_quiet_moment_is_not_noticed(
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


def test_server_that_vanished_is_noticed(postgres_tables: str) -> None:
    """It would take two hours by default: what waits for an answer has nothing to send."""
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
