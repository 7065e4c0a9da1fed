"""A Postgres with an unsuitable encoding or missing privileges is refused with the fix.

Each command in a message is run as it stands there, and then the refusal is gone.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from chatbot.adapters.storage.sql.export import SqlExport
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.schema import VERSION_TABLE
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.tables import metadata
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.permissions import Role
from chatbot.domain.ports.export import Change
from commands import Run
from postgres import PASSWORD, PostgresServer, command, new_database, postgres_server

ACCOUNT = "chatbot app"  # has to be quoted
STARTS = {"init": "init", "serve": "serve --port 0", "doctor": "doctor"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        account = sql.Identifier(ACCOUNT)
        make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(account, sql.Literal(PASSWORD))
        command(server.url("postgres"), make)
        yield server


@pytest.fixture
def owner(server: PostgresServer) -> Iterator[str]:
    """The URL of a new database, as its owner."""
    with new_database(server.url("postgres")) as url:
        yield url


@pytest.fixture
def account(owner: str) -> str:
    """The URL of the same database, as a role without privileges."""
    return owner.replace("//postgres:", f"//{ACCOUNT.replace(' ', '%20')}:")


def database_at(url: str) -> PostgresDatabase:
    return PostgresDatabase(url, connections=1, prepared=True)


async def opened(url: str) -> None:
    async with SqlStorage(database_at(url), replica="test"):
        pass


def refusals(*tries: Callable[[], object]) -> set[str]:
    """The error messages of commands that must fail."""
    found = set()
    for one in tries:
        with pytest.raises(StorageUnavailable) as refused:
            one()
        found.add(str(refused.value))
    return found


def run_fix(owner: str, message: str) -> None:
    """Run the statements of the message in the database that it names."""
    match = re.search(r"`psql -d (\S+) -c '([^']+)'`", message)
    assert match, message
    assert match[1] == urlsplit(owner).path[1:]
    command(owner, sql.SQL(match[2]))


@pytest.fixture
def start(ready: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], tuple[int, str]]:
    """Run a command on a database; return its exit code and its storage finding."""

    def start(name: str, url: str) -> tuple[int, str]:
        monkeypatch.setenv("STORAGE_URL", url)
        code, out, err = ready(*STARTS[name].split())
        [line] = [line for line in (out + err).splitlines() if "STORAGE_URL: " in line]
        return code, line

    return start


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_database_that_cannot_hold_every_text_is_refused_by_every_start(
    server: PostgresServer, start: Callable[[str, str], tuple[int, str]], encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    command(
        server.url("postgres"),
        sql.SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0 LOCALE 'C'").format(
            sql.Identifier(name), sql.Literal(encoding)
        ),
    )
    for one in STARTS:
        code, line = start(one, server.url(name))
        assert code == (1 if one == "doctor" else 2)
        assert (
            f"encoding {encoding}, which cannot store every text. Fix: create one with `createdb -E UTF8"
            in line
        )


def test_role_without_usage_on_the_schema_is_refused_until_it_is_granted(
    owner: str, account: str
) -> None:
    command(owner, sql.SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC"))
    [message] = refusals(
        lambda: upgrade(database_at(account)), lambda: asyncio.run(opened(account))
    )
    assert message.startswith('The account "chatbot app" may not use the schema public. Fix: as ')
    run_fix(owner, message)
    upgrade(database_at(account))
    asyncio.run(opened(account))


def test_role_without_create_is_refused_until_it_is_granted(owner: str, account: str) -> None:
    command(owner, sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    [message] = refusals(lambda: upgrade(database_at(account)))
    assert "may not create tables in the schema public. Fix: as " in message
    run_fix(owner, message)
    upgrade(database_at(account))


@pytest.mark.parametrize("missing", ["INSERT", "UPDATE", "DELETE", "SELECT"])
def test_role_without_a_privilege_on_one_table_is_refused_until_it_is_granted(
    owner: str, account: str, missing: str
) -> None:
    upgrade(database_at(owner))
    everything = sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}")
    command(owner, everything.format(sql.Identifier(ACCOUNT)))
    asyncio.run(opened(account))
    taken = sql.SQL("REVOKE {} ON messages FROM {}").format(
        sql.SQL(missing),
        sql.Identifier(ACCOUNT),
    )
    command(owner, taken)
    role = Role(name="x", permissions=frozenset())
    [message] = refusals(
        lambda: asyncio.run(opened(account)),
        lambda: upgrade(database_at(account)),
        lambda: _put(account, role),
    )
    assert f'"chatbot app" lacks {missing} on some tables of the schema pub' in message
    run_fix(owner, message)
    asyncio.run(opened(account))
    upgrade(database_at(account))


def _put(url: str, role: Role) -> None:
    with SqlExport(database_at(url)) as export:
        export.put([Change(item=role, over=None)])


def test_tables_of_another_owner_are_not_changed(owner: str, account: str) -> None:
    upgrade(database_at(owner))
    for statement in (
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}",
        "GRANT ALL ON SCHEMA public TO {}",
    ):
        command(owner, sql.SQL(statement).format(sql.Identifier(ACCOUNT)))
    with database_at(account).connect() as connection:
        [message] = refusals(lambda: database_at(account).require_changeable(connection))
    assert f"does not own {', '.join(sorted([VERSION_TABLE, *metadata.tables]))} and" in message
    assert "Fix: run this command with the owner of the tables in STORAGE_URL." in message


@pytest.mark.parametrize("where", ["DATABASE", "ROLE"])
def test_database_that_is_read_only_is_refused(
    server: PostgresServer, owner: str, account: str, where: str
) -> None:
    upgrade(database_at(owner))
    everything = sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}")
    command(owner, everything.format(sql.Identifier(ACCOUNT)))
    name = urlsplit(owner).path[1:] if where == "DATABASE" else ACCOUNT
    change = sql.SQL("ALTER {} {} {}")
    subject = (sql.SQL(where), sql.Identifier(name))
    command(
        server.url("postgres"),
        change.format(*subject, sql.SQL("SET default_transaction_read_only = on")),
    )
    try:
        [message] = refusals(lambda: asyncio.run(opened(account)))
        assert 'is read-only for "chatbot app" (default_transaction_read_only). Fix: as' in message
        assert f"ALTER {where} " in message
    finally:
        reset = sql.SQL("RESET default_transaction_read_only")
        command(server.url("postgres"), change.format(*subject, reset))
    asyncio.run(opened(account))


def test_role_without_connect_is_refused_with_the_grant_to_run(owner: str, account: str) -> None:
    name = sql.Identifier(urlsplit(owner).path[1:])
    command(owner, sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
    [message] = refusals(lambda: asyncio.run(opened(account)))
    assert "allow it with `GRANT CONNECT ON DATABASE ... TO ...`" in message


def test_text_is_sent_as_utf8_whatever_the_environment_and_the_account_say(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    command(owner, sql.SQL("ALTER ROLE postgres SET client_encoding = 'LATIN1'"))
    try:
        with database_at(owner).connect() as connection:
            assert connection.exec_driver_sql("SELECT '🐕 Ñ €'").scalar() == "🐕 Ñ €"
    finally:
        command(owner, sql.SQL("ALTER ROLE postgres RESET client_encoding"))


def test_standby_is_refused_by_every_start(
    start: Callable[[str, str], tuple[int, str]], tmp_path: Path
) -> None:
    with postgres_server() as server:
        upgrade(database_at(server.url("postgres")))
        server.stop()
        signal = server.folder / "data" / "standby.signal"
        signal.touch()
        server.start()
        for one in STARTS:
            code, line = start(one, server.url("postgres"))
            assert code == (1 if one == "doctor" else 2)
            assert "is a standby and accepts no writes. Fix: name the primary" in line
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        asyncio.run(opened(server.url("postgres")))
