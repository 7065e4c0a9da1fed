"""The test server for Postgres: the properties that tests rely on."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from postgres import PostgresServer, new_database, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash])
def test_stopped_server_restarts_at_its_address_with_its_committed_data(
    server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    with new_database(server.url("postgres")) as url:
        connection = psycopg.connect(url)
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.commit()
        connection.execute("DELETE FROM kept")
        end(server)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        server.start()
        with psycopg.connect(url) as again:
            assert again.execute("SELECT answer FROM kept").fetchall() == [(42,)]


def test_test_databases_are_separate_and_dropped_at_the_end(server: PostgresServer) -> None:
    with new_database(server.url("postgres")) as first, new_database(first) as second:
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE mine ()")
        with psycopg.connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT FROM mine")
    for url in (first, second):
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(url)


def test_neither_process_nor_file_is_left_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError), postgres_server() as server:
        _ = 1 / 0
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(server.url("postgres"))
    assert not server.folder.exists()
