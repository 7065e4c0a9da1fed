"""Tables and migrations, and databases that do not match this version."""

import asyncio
import io
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import SchemaItem

from chatbot.adapters.storage.sql import postgres as postgres_module
from chatbot.adapters.storage.sql import schema, upgrading
from chatbot.adapters.storage.sql.database import Database, SqlSession
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.schema import VERSION_TABLE, current
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.tables import RECORD_TABLES, REVISIONS, metadata, table_of
from chatbot.adapters.storage.sql.upgrading import configured, upgrade
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import User, UserId
from chatbot.domain.permissions import DEFAULT_ROLES, ROLE_PERMISSIONS, Permission, Role
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.repositories.users import USERS
from chatbot.domain.transaction import KINDS
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.commands.cli import main
from notes import NOTES, Note
from process import ENVIRONMENT

TABLES = {table.name for table in metadata.sorted_tables}
WITHOUT_MIGRATION = {table.name for table in RECORD_TABLES} - {"roles", "users"}
PASSWORD = b"violet kettle drums at noon\n"
COMMANDS = {
    "serve": ("serve", "--port", "0"),
    "upgrade": ("db", "upgrade"),
    "current": ("db", "current"),
    "admin": ("admin", "create", "--email", "a@example.com", "--password-stdin"),
    "doctor": ("doctor",),
}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'chatbot.db'}"
    found: str = request.getfixturevalue("postgres_database")
    return found


@pytest.fixture
def database(url: str) -> Database:
    """The URL of an empty SQLite database and its file."""
    database = database_at(url)
    database.create()
    return database


def database_at(url: str) -> Database:
    if url.startswith("sqlite"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return PostgresDatabase(url, connections=2, prepared=True)


# --- the migrations --------------------------------------------------------------------------


def tables_in(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def test_migrations_go_up_and_down_and_up_again(database: Database) -> None:
    assert upgrade(database) == (None, REVISIONS[-1])
    with database.connect() as connection:
        database.lock_schema(connection)
        assert tables_in(connection) == TABLES | {VERSION_TABLE}
        command.downgrade(configured(connection), "base")
        connection.commit()
        assert tables_in(connection) == {VERSION_TABLE} | WITHOUT_MIGRATION
        assert current(connection) is None
        connection.rollback()
    assert upgrade(database) == (None, REVISIONS[-1])
    assert upgrade(database) == (REVISIONS[-1], REVISIONS[-1])
    with database.connect() as connection:
        assert tables_in(connection) == TABLES | {VERSION_TABLE}


OLD_USERS = """
INSERT INTO users (id, email, password_hash, roles, department, created_at, is_active, token_version)
VALUES ('7', 'ana@example.com', '$x', '["admin", "\\u00f1"]', 'R&D', '2026-03-01 12:00:00.123456{zone}', {yes}, 3)
"""
OLD_ROLES = "INSERT INTO roles (name, permissions) VALUES ('guest', '[\"chat\", \"fly\"]')"
ANA = User(
    id=UserId("7"),
    email="ana@example.com",
    password_hash="$x",
    roles=("admin", "ñ"),
    department="R&D",
    created_at=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    token_version=3,
)


def test_users_and_roles_survive_upgrade_downgrade_upgrade(database: Database) -> None:
    with database.connect() as connection:
        database.lock_schema(connection)
        command.upgrade(configured(connection), "0001")
        yes = "1" if connection.dialect.name == "sqlite" else "true"
        connection.exec_driver_sql(OLD_USERS.format(yes=yes, zone="" if yes == "1" else "+00"))
        connection.execute(text(OLD_ROLES))
        old = old_rows(connection)
        command.upgrade(configured(connection), "head")
        records = SqlRecords(SqlSession(connection))
        assert list(records.page(USERS)) == [ANA]

        assert records.get(ROLES, "admin") == Role(name="admin", permissions=ROLE_PERMISSIONS)
        assert {role.name for role in records.page(ROLES)} == {*DEFAULT_ROLES, "guest"}
        assert records.get(ROLES, "guest") == Role(
            name="guest", permissions=frozenset({Permission.CHAT})
        )
        command.downgrade(configured(connection), "0002")
        assert old_rows(connection) == old
        command.upgrade(configured(connection), "head")
        assert list(records.page(USERS)) == [ANA]
        connection.commit()


def old_rows(connection: Connection) -> list[tuple[object, ...]]:
    return [
        tuple(row)
        for table in ("users", "roles")
        for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY 1"))
    ]


def test_table_of_a_new_kind_is_made_by_the_upgrade_without_a_migration(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(database)
    monkeypatch.setattr(schema, "RECORD_TABLES", [*RECORD_TABLES, table_of(NOTES)])
    monkeypatch.setattr(upgrading, "KINDS", (*KINDS, NOTES))
    with database.connect() as connection:
        with pytest.raises(StorageUnavailable, match="run `chatbot db upgrade`"):
            schema.require_current(connection)
        connection.rollback()
    assert upgrade(database) == (REVISIONS[-1], REVISIONS[-1])
    with database.connect() as connection:
        schema.require_current(connection)
        note = Note(shelf="a", name="b")
        SqlRecords(SqlSession(connection)).put(NOTES, note, expected=None)
        connection.commit()
    assert upgrade(database) == (REVISIONS[-1], REVISIONS[-1])
    with database.connect() as connection:
        assert list(SqlRecords(SqlSession(connection)).page(NOTES)) == [note]


def test_migrations_make_the_tables_that_the_code_works_on(database: Database) -> None:
    upgrade(database)
    with database.connect() as connection:
        dialect = connection.dialect.name

        def is_its(one: SchemaItem, *_: object) -> bool:
            return bool(one.info.get("dialect", dialect) == dialect)

        how = {"compare_type": True, "version_table": VERSION_TABLE, "include_object": is_its}
        context = MigrationContext.configure(connection, opts=how)
        assert compare_metadata(context, metadata) == []
        for table in metadata.sorted_tables:
            found = inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert found == [column.name for column in table.primary_key]


def test_fields_without_a_column_are_equal_too(database: Database) -> None:
    """Order of indexes, deletion with the session, no rowid: Alembic does not compare them."""
    upgrade(database)
    with database.connect() as connection:
        made = definitions(connection)
        connection.rollback()
        database.lock_schema(connection)
        command.downgrade(configured(connection), "base")
        metadata.create_all(connection)
        assert made == definitions(connection)
        assert any("updated_at desc" in definition for definition in made)
        connection.rollback()


def definitions(connection: Connection) -> set[str]:
    """The database's own definitions of tables and indexes, without order and whitespace."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
        lines = ",".join(str(sql) for (sql,) in found).replace("(\n", "(\n,").split(",")
        parts = {" ".join(re.sub(r"[()]", " ", line).split()).lower() for line in lines}
    else:
        found = connection.execute(
            text("""
            SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
            SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            """)
        )
        parts = {str(definition).lower() for (definition,) in found}
    return {part for part in parts if VERSION_TABLE not in part}


def test_revisions_are_alembics_in_their_order(database: Database) -> None:
    with database.connect() as connection:
        scripts = ScriptDirectory.from_config(configured(connection))
    assert scripts.get_heads() == [REVISIONS[-1]]
    found = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


# --- several at once, and one that is killed --------------------------------------------------


def test_of_concurrent_upgrades_one_migrates_and_all_succeed(url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: upgraded(url), range(8)))
    new, done = (None, REVISIONS[-1]), (REVISIONS[-1], REVISIONS[-1])
    assert sorted(found, key=str) == sorted([new, *[done] * 7], key=str)


def upgraded(url: str) -> tuple[str | None, str | None]:
    database = database_at(url)
    database.create()
    return upgrade(database)


KILLED = """
import os, signal, sys
from sqlalchemy import event, Engine
from chatbot.entrypoints.commands import store
from chatbot.entrypoints.settings.loading import load_settings

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *rest):
    if "users" in statement and "CREATE TABLE" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

store.upgrade(load_settings())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_upgrade_leaves_the_old_schema(url: str, tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"STORAGE_URL": url}
    killed = subprocess.run((sys.executable, "-c", KILLED), cwd=tmp_path, env=environment)  # noqa: PLW1510
    assert killed.returncode == -9
    with database_at(url).connect() as connection:
        assert tables_in(connection) == set()
    assert upgraded(url) == (None, REVISIONS[-1])


# --- databases that are not as they should be ------------------------------------------------

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a database; return its exit code and its storage finding."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging_setup, "configure", lambda *_, **__: None)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run(name: str, url: str) -> tuple[int, str]:
        monkeypatch.setenv("STORAGE_URL", url)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PASSWORD), "utf-8"))
        with pytest.raises(SystemExit) as ended:
            main(list(COMMANDS[name]))
        out, err = capsys.readouterr()
        if name == "doctor":
            [err] = [line for line in out.splitlines() if line.startswith("FAIL  storage: ")]
        [line] = err.splitlines()
        assert "STORAGE_URL" in line
        return int(ended.value.code or 0), line

    return run


def check_refusals(run: Run, url: str, words: str, but: AbstractSet[str] = frozenset()) -> None:
    for name in COMMANDS.keys() - but:
        code, line = run(name, url)
        assert code == (1 if name == "doctor" else 2), name
        assert words in line, name
        assert line.count("Fix: ") == 1, line


def with_version(database: Database, version: str) -> None:
    upgrade(database)
    with database.connect() as connection:
        database.lock_schema(connection)
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))
        connection.commit()


def test_empty_database_is_refused_and_init_is_named(
    run: Run, url: str, database: Database
) -> None:
    check_refusals(run, url, "`chatbot init`", but={"upgrade", "current"})


def test_newer_schema_is_refused_and_left_alone(run: Run, url: str, database: Database) -> None:
    with_version(database, "9999")
    check_refusals(run, url, "9999 of a newer version", but={"current"})
    with database.connect() as connection:
        assert current(connection) == "9999"


async def test_older_schema_is_refused_and_the_upgrade_is_named(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(upgrade, database)
    monkeypatch.setattr(schema, "REVISIONS", (*REVISIONS, "9999"))
    with pytest.raises(
        StorageUnavailable,
        match="backup with the version that created it, and run `chatbot db upgrade`",
    ):
        async with SqlStorage(database, replica="new"):
            pass


def test_file_of_another_application_is_refused_and_not_changed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "crm.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    before = file.read_bytes()
    check_refusals(run, f"sqlite:///{file}", "tables of another application")
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {file.name}


def test_database_of_another_application_is_refused_and_not_changed(
    run: Run, postgres_database: str
) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    check_refusals(run, postgres_database, "tables of another application")
    with database_at(postgres_database).connect() as connection:
        assert tables_in(connection) == {"customers"}


def test_file_that_is_not_a_database_is_refused_and_not_changed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letter.db"
    file.write_bytes(b"Dear Sir or Madam, " * 500)
    check_refusals(run, f"sqlite:///{file}", "file is not a database")
    assert file.read_bytes() == b"Dear Sir or Madam, " * 500


def test_missing_file_is_refused_and_not_made(run: Run, tmp_path: Path) -> None:
    for file in (tmp_path / "none.db", tmp_path / "no folder" / "none.db"):
        check_refusals(run, f"sqlite:///{file}", "`chatbot init`", but={"upgrade"})
    assert list(tmp_path.iterdir()) == []


def test_folder_and_path_through_a_file_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run("upgrade", f"sqlite:///{tmp_path}")[0] == 2
    check_refusals(run, f"sqlite:///{tmp_path}", "is a folder", but={"upgrade"})
    assert run("upgrade", f"sqlite:///{tmp_path / 'file' / 'chatbot.db'}")[0] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="making links is a right of its own there")
@pytest.mark.parametrize("is_there", [True, False])
def test_symbolic_link_is_refused_and_what_it_names_left_alone(
    run: Run, tmp_path: Path, *, is_there: bool
) -> None:
    target, link = tmp_path / "elsewhere.db", tmp_path / "chatbot.db"
    link.symlink_to(target)
    if is_there:
        target.touch()
    check_refusals(run, f"sqlite:///{link}", "symbolic link")
    assert target.exists() == is_there
    assert not is_there or target.read_bytes() == b""


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?.db", "#1.db", "ñandú%41.db"])
def test_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    if sys.platform == "win32" and "?" in name:
        pytest.skip("no name there")
    assert upgraded(f"sqlite:///{tmp_path / name}") == (None, REVISIONS[-1])
    assert (tmp_path / name).stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


# --- Postgres that is not to be had ----------------------------------------------------------


def test_postgres_connection_failure_is_one_line_in_the_servers_words(
    run: Run, postgres: str
) -> None:
    parts = urlsplit(postgres)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        wrong = {
            f"postgresql://postgres:wrong-0815@127.0.0.1:{parts.port}/postgres": (
                'password authentication failed for user "postgres"). Fix: correct the account'
            ),
            parts._replace(path="/no_such_db").geturl(): (
                '"no_such_db" does not exist). Fix: create it with `createdb -E UTF8 -T template0 NAME`'
            ),
            f"postgresql://postgres:wrong-0815@127.0.0.1:{port}/db": (
                "Connection refused). Fix: start the server, or correct STORAGE_URL."
            ),
        }
        for url, words in wrong.items():
            for name in COMMANDS:
                code, line = run(name, url)
                assert code == (1 if name == "doctor" else 2)
                assert words in line
                assert line.count("Fix: ") == 1
                assert "wrong-0815" not in line


def test_unknown_host_is_named(run: Run) -> None:
    code, line = run("current", "postgresql://u:p@no-such-host.invalid/db")
    assert code == 2
    assert "no-such-host" in line


def test_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "find_spec", lambda _: None)
    check_refusals(run, "postgresql://u:p@127.0.0.1/db", "install the extra `postgres`")
