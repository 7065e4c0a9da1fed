"""The query plans of every repository statement, with 100,000 sessions."""

import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event, text

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.stored_index import StoredIndex, prepared
from chatbot.adapters.storage.sql.counters import SqlCounters
from chatbot.adapters.storage.sql.database import Database, SqlSession
from chatbot.adapters.storage.sql.index_rows import index_rows_of
from chatbot.adapters.storage.sql.journal import SqlJournal
from chatbot.adapters.storage.sql.journal_index import digest_of
from chatbot.adapters.storage.sql.lease_renewal import renew
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.sessions import SqlSessions
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.sqlite_session import SqliteSession
from chatbot.adapters.storage.sql.turn_statements import TURN_STATEMENTS
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.domain.audit import AUDIT
from chatbot.domain.chat import MessageRange, MessageRole, Session, SessionCursor, SessionId, TurnId
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import DEFAULT_ROLES
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.journal import JournalEntry, JournalQuery
from chatbot.domain.repositories.documents import DOCUMENTS
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.repositories.users import USERS, UserFilter, Users
from chatbot.domain.search import Embedded, Passage, Scope
from postgres import new_database
from samples import new_message

T0 = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE, EACH, MANY = 100, 900, 10_000
ANA = Owner(kind="user", id=f"{1:032x}")
BOB = Owner(kind="user", id="nobody")
TURN = TurnId("1" * 32)
OF_AN_OWNER = ("sessions", "messages", "memories")
READS_ALL = (
    " FROM users ORDER BY users.id",
    " FROM roles ORDER BY roles.name",
    " FROM counters WHERE replace(",
)
"""What a statement has that reads all: all users for an administrator, the few roles, and all
counters to erase a person's."""

OF_ALL_OWNERS = "WITH RECURSIVE owners(owner)"
"""How the statement begins that finds whose session has an id, for data protection."""
SEARCHES = "SELECT sessions.id, sessions.title FROM"
"""How a search in all titles of an owner begins, which Postgres may sort: it reads them all."""

OF_SOME_CLASSES = ".scope IN ("
"""What a list of documents of some access classes has, which is sorted: each has its own order."""

OFTEN, RARE = ("action", "auth.login"), ("object", "u1")
OWN_VALUES = ("SCAN json_each ", "SCAN additions", "SCAN exceeding", "SCAN owners")
"""Steps of SQLite that read the values of a statement, or what it has made of them."""

FILL = f"""
INSERT INTO sessions (owner, id, title, created_at, updated_at, message_count, last_seq, epoch)
WITH RECURSIVE
    person (p) AS (SELECT 1 UNION ALL SELECT p + 1 FROM person WHERE p < {PEOPLE}),
    number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {MANY})
SELECT 'user:' || {{id}}, {{session}}, 'title', {{at}}, {{at}}, 1, 1, 0
FROM person CROSS JOIN number WHERE p = 1 OR n <= {EACH};
INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id)
SELECT owner, id, 1, 'user', 'text', updated_at, 'turn' FROM sessions;
INSERT INTO memories (owner, session_id, version, content)
SELECT owner, id, 1, '{{{{}}}}' FROM sessions WHERE owner = 'user:' || {{first}};
INSERT INTO users (id, email, record)
SELECT id, id || '@example.com', '{{{{"password_hash": "x"}}}}' FROM sessions
WHERE owner = 'user:' || {{first}};
INSERT INTO refresh_families (id, user_id, expires_at, record)
SELECT id, id, '2030', '{{{{}}}}' FROM sessions WHERE owner = 'user:' || {{first}};
INSERT INTO journal_entries (journal, seq, at, content) SELECT 'audit', row_number() OVER (), updated_at, '{{{{}}}}' FROM sessions;
INSERT INTO journal_labels (label, seq) SELECT {digest_of(AUDIT, OFTEN)}, seq FROM journal_entries;
INSERT INTO journal_labels (label, seq) SELECT {digest_of(AUDIT, RARE)}, seq FROM journal_entries WHERE mod(seq, 1009) = 0;
INSERT INTO journal_blocks (journal, seq, first_at, last_at) SELECT journal, seq, at, at FROM journal_entries WHERE mod(seq, 64) = 0;
INSERT INTO index_tail (scope, parent, seq, record) SELECT 'messages ' || owner, id, 1, {{bytes}} FROM sessions;
INSERT INTO index_segments (id, scope, count, data, dead) SELECT row_number() OVER (), 'documents ' || id, 1, {{bytes}}, {{bytes}} FROM sessions WHERE owner = 'user:' || {{first}};
INSERT INTO index_vectors (id, scope, parent, model, dimension, seqs, signs, codes) SELECT row_number() OVER (), 'messages ' || owner, id, 'model', 1, {{bytes}}, {{bytes}}, {{bytes}} FROM sessions;
INSERT INTO documents (id, scope, digest, uploaded_by, record) SELECT id, id, id, id, '{{{{}}}}' FROM sessions WHERE owner = 'user:' || {{first}};
INSERT INTO index_audiences (atom, scope) SELECT 'user:' || id, 'documents ' || id FROM sessions WHERE owner = 'user:' || {{first}};
INSERT INTO counters (kind, name, expires_at, amount) SELECT 'k', id, updated_at, 1 FROM sessions WHERE owner = 'user:' || {{first}};
"""
FIRST = f"'{1:032x}'"
SQLITE = {
    "id": "printf('%032x', p)",
    "session": "printf('%032x', n)",
    "at": "strftime('%Y-%m-%d %H:%M:%f', 1770000000 + n % 997, 'unixepoch') || '000'",
    "first": FIRST,
    "yes": "1",
    "bytes": "x'00'",
}
POSTGRES = {
    "id": "lpad(to_hex(p), 32, '0')",
    "session": "lpad(to_hex(n), 32, '0')",
    "at": "to_timestamp(1770000000 + mod(n, 997))",
    "first": FIRST,
    "yes": "true",
    "bytes": "decode('00', 'hex')",
}


@dataclass(frozen=True)
class Said:
    """A statement as passed to the driver, with its values."""

    sql: str
    values: object

    @property
    def words(self) -> str:
        return " ".join(self.sql.split())

    @property
    def reads_all(self) -> bool:
        return any(each in self.words for each in READS_ALL)

    @property
    def lists_people(self) -> bool:
        """Whether it lists users, whom Postgres may sort: at most all of them are looked at."""
        return " ORDER BY users.email" in self.words


# --- every statement -------------------------------------------------------------------------


def work_on_everything(statements: SqlSession) -> None:
    """Call every method of every repository, along every code path."""
    index: Any = Noted(StoredIndex(index_rows_of(statements), IndexCache()))
    repository: Any = Noted(SqlSessions(statements, index, replica="test", lease_s=20))
    own = Session(id=SessionId("f" * 32), owner=ANA, title="", created_at=T0, updated_at=T0)
    repository.create(own)
    lease = repository.acquire(ANA, own.id, TURN)
    renew(statements, [lease], seconds=20)
    repository.append(lease, new_message(lease, MessageRole.USER, "text", ts=T0))
    repository.get(ANA, own.id)
    assert repository.count(ANA)
    mark = repository.page(ANA, limit=20)[-1]
    repository.page(ANA, limit=20, after=SessionCursor(updated_at=mark.updated_at, id=mark.id))
    assert repository.owners_of(own.id) == [ANA]
    repository.page(ANA, limit=20, title="t")
    after = SessionCursor(updated_at=mark.updated_at, id=mark.id)
    repository.page(ANA, limit=20, after=after, title="t")
    repository.update(lease, replace(own, title="Given"))
    repository.read(ANA, own.id, MessageRange(limit=20, before=9, after=0))
    repository.read(ANA, own.id, MessageRange(limit=20, after=9))
    repository.read(ANA, own.id, MessageRange(after=0, limit=20, oldest=True))
    repository.with_next(ANA, [(own.id, 9), (own.id, 12)])
    for version in range(2):
        repository.memory(ANA, own.id)
        assert repository.put_memory(ANA, own.id, Memory(version=version), epoch=0)
    assert repository.owners()
    repository.trim(lease, 1)
    repository.reset(lease, ts=T0)
    repository.release(lease)
    repository.delete(repository.acquire(ANA, own.id, TURN))
    assert repository.count(BOB) == 0
    repository.clear(BOB)
    records, counters = Noted(SqlRecords(statements)), Noted(SqlCounters(statements))
    work_on_people(Users(cast(SqlRecords, records)))
    work_on_records(records)
    work_on_counters(counters)
    journal: Any = Noted(SqlJournal(statements))
    work_on_journal(journal)
    work_on_index(index)
    assert journal.forgotten | index.forgotten == set()
    assert repository.forgotten | records.forgotten | counters.forgotten == set()


def work_on_index(index: Any) -> None:
    """The scopes are in the WHERE clause of every statement."""
    scope = Scope("documents of a test")
    passages = [Passage(seq=seq, text=f"text {seq}") for seq in range(1, 81)]
    index.put(scope, "a", passages)
    index.append(scope, "b", passages[:9])
    assert not index.snapshot([scope]).is_empty
    for model in ("one", "two"):
        embedded = Embedded(model=model, vectors={seq: [1.0, seq] for seq in range(1, 81)})
        index.put_vectors(scope, "a", embedded)
        index.put_vectors(scope, "b", embedded)
    index.drop_other_vectors(scope, "two")
    assert index.vectors_of(scope, "one") == {}
    assert len(index.vectors_of(scope, "two", dimension=2)["b"]) == 9
    assert not index.vector_snapshot([scope], "two").is_empty
    assert index.vector_codes([scope], [1]) == {}
    index.remove(scope, "a", upto=9)
    index.fold(scope)
    plan = index.plan(scope, is_whole=True)
    assert plan is not None
    assert index.replace(plan, plan.built())
    index.set_audience(scope, ["public", "role:a"])
    assert index.scopes_for(["public"]) == [scope]
    assert index.indexed(scope) == {"a": 71, "b": 9}
    index.put_prepared(scope, prepared("b", passages[:9]))
    index.move(scope, Scope("documents of another test"), "b")
    index.clear(scope)


def work_on_people(people: Any) -> None:
    user = User(
        id=UserId("f" * 32),
        email="ana@example.com",
        password_hash="x",
        roles=(),
        department="",
        created_at=T0,
    )
    people.lock()
    people.require_no_administrator(DEFAULT_ROLES)
    people.add(user)
    assert people.by_id(user.id) == people.by_email(user.email) == user
    people.set_password_hash(user.id, old="x", new="y")
    stored = people.by_id(user.id)
    people.replace(replace(stored, department="sales"), old=stored, roles=DEFAULT_ROLES)
    everything = UserFilter(text="ana", department="sales", role="admin", is_active_at=(False, T0))
    assert people.page(everything, after="a", limit=50) == []
    assert list(people.administrators(DEFAULT_ROLES)) == []
    assert people.department_like("SALES") == "sales"
    assert [each.department for each in people.all() if each.id == user.id] == ["sales"]
    assert people.password_schemes()


def work_on_records(records: Any) -> None:
    assert records.page(ROLES)
    first = records.page(USERS, limit=1)[0]
    assert records.page(USERS, after=(first.id,), limit=1)[0].id > first.id
    assert records.page(USERS, field="email", value=first.email) == [first]
    assert records.get_all(USERS, [(first.id,)]) == [first]
    assert records.search(USERS, [], order_by="email", limit=1)
    assert records.page_in(DOCUMENTS, field="scope", values=["a", "b"], limit=9) == []
    assert records.page_in(DOCUMENTS, field="scope", values=["a"], after=("a",), limit=9) == []
    assert records.count(DOCUMENTS, field="scope", value="a") == 0
    assert records.drop_expired(USERS, T0) == 0
    records.remove(USERS, first.id)


def work_on_counters(counters: Any) -> None:
    keys = [CounterKey("k", f"{number:032x}") for number in (1, 2)]
    limited = [Addition(key=key, amount=1, expires_at=T0, limit=9) for key in keys]
    with counters.exclusive(keys):
        long_ago = T0 - timedelta(days=900)
        assert not counters.add(limited, now=long_ago)
    counters.settle(limited, limited, now=T0)
    counters.read(keys, now=T0)
    counters.scan("k", f"{1:031x}", f"{2:031x}", now=T0)
    counters.clear(keys)
    counters.erase("ana")


def work_on_journal(journal: Any) -> None:
    content = {"action": "user.create", "actor": {"user": "u1"}}
    last = journal.last(AUDIT).seq
    entries = [
        JournalEntry(journal=AUDIT.name, seq=last + n, at=T0, content=content)
        for n in range(1, 1025)  # a block
    ]
    journal.extend(AUDIT, lambda _: entries)
    journal.read(AUDIT, after=1, limit=20)
    since, until = T0 - timedelta(days=20), T0 + timedelta(days=20)
    for labels in ((), (OFTEN,), (OFTEN, RARE), (OFTEN, RARE, ("actor", "u1"))):
        query = JournalQuery(labels=frozenset(labels))
        journal.find(AUDIT, query, limit=50)
        journal.find(AUDIT, replace(query, since=since, until=until), limit=50)
    assert journal.prune(AUDIT, T0, lambda _, newest: replace(newest, seq=newest.seq + 1))


class Noted:
    """Records which methods of a repository are called."""

    def __init__(self, repository: object) -> None:
        self._repository, self.called = repository, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._repository, name)

    @property
    def forgotten(self) -> set[str]:
        ours = [kind for kind in type(self._repository).__mro__ if "adapters" in kind.__module__]
        public = {name for kind in ours for name in vars(kind) if not name.startswith("_")}
        return public - self.called


class TracedSession(SqliteSession):
    """Every statement sent through SQLAlchemy, which reports them; the texts are identical."""

    _execute = SqlSession._execute


def statements_of(database: Database) -> Sequence[Said]:
    """The distinct statements of the repositories."""
    said: dict[str, Said] = {}
    with database.connect() as connection, listening(connection.engine, said):
        kind = TracedSession if connection.dialect.name == "sqlite" else SqlSession
        work_on_everything(kind(connection))
        connection.rollback()
    return list(said.values())


@contextmanager
def listening(engine: Engine, said: dict[str, Said]) -> Iterator[None]:
    def record(_: Connection, __: object, sql: str, values: object, *___: object) -> None:
        said[sql] = Said(sql, values[0] if isinstance(values, list) else values)

    event.listen(engine, "before_cursor_execute", record)
    yield
    event.remove(engine, "before_cursor_execute", record)


# --- SQLite ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Database:
    path = Path(shutil.copy(sqlite_template, tmp_path_factory.mktemp("large") / "chatbot.db"))
    database = SqliteDatabase(path)
    with database.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        connection.connection.driver_connection.executescript(FILL.format(**SQLITE))  # type: ignore[union-attr]
        check_size(connection)
    return database


def check_size(connection: Connection) -> None:
    found = connection.execute(text("SELECT count(*) FROM sessions")).scalar()
    assert found == (PEOPLE - 1) * EACH + MANY
    assert found > 99_000


def test_sqlite_scans_and_sorts_nothing(large_sqlite: Database) -> None:
    said = statements_of(large_sqlite)
    assert len(said) > 20
    with large_sqlite.connect() as connection:
        for one in said:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one.sql}", one.values).all()  # type: ignore[arg-type]
            steps = [str(row[3]) for row in plan]
            if one.reads_all:
                assert [step.partition(" USING INDEX ")[0][:5] for step in steps] == ["SCAN "]
                continue
            assert not [
                step
                for step in steps
                if step.startswith("SCAN")
                and not step.startswith(OWN_VALUES)
                and " CONSTANT ROW" not in step
                and not ("USING INDEX" in step and "LIMIT" in one.words)
            ], one
            if OF_SOME_CLASSES not in one.words:
                assert not [step for step in steps if "TEMP B-TREE" in step], (one, steps)


def test_sqlite_looks_up_what_a_turn_needs_by_indexes(large_sqlite: Database) -> None:
    with large_sqlite.connect() as connection:
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        for each in [sql for statement in TURN_STATEMENTS for sql in statement.sqlite]:
            values = dict.fromkeys(re.findall(r":(\w+)", each))
            steps = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {each}", values)]
            assert not [
                step for step in steps
                if step.startswith("SCAN") and not re.search("caller|roles|CONSTANT|subquery", step)
            ], (each, steps)  # fmt: skip
            assert not [step for step in steps if "TEMP B-TREE" in step], (each, steps)


def test_sqlite_lists_thousands_of_segments_and_vectors_by_an_index_alone(
    large_sqlite: Database,
) -> None:
    listing = ("SELECT id, scope, count, dead FROM", "SELECT id, scope, dimension FROM")
    said = [one for one in statements_of(large_sqlite) if one.words.startswith(listing)]
    assert len(said) == len(listing)
    with large_sqlite.connect() as connection:
        for one in said:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one.sql}", one.values)  # type: ignore[arg-type]
            assert [row[3] for row in plan if "USING COVERING INDEX" in row[3]], one


def test_every_statement_on_the_index_names_the_permitted_access_classes(
    large_sqlite: Database,
) -> None:
    seen = set[str]()
    for one in statements_of(large_sqlite):
        for table in ("index_tail", "index_segments", "index_vectors", "index_audiences"):
            if f"FROM {table} " in one.words or f"UPDATE {table} " in one.words:
                column = "atom" if one.words.startswith("SELECT scope FROM") else "scope"
                assert f" WHERE {column} " in one.words, one.words
                assert " OR " not in one.words
                seen.add(table)
    assert len(seen) == 4


# --- Postgres --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_postgres(postgres: str) -> Iterator[Database]:
    with new_database(postgres) as url:
        database = PostgresDatabase(url, connections=1, prepared=True)
        upgrade(database)
        with database.connect() as connection:
            connection.exec_driver_sql("SET synchronous_commit = off")
            for statement in FILL.format(**POSTGRES).strip().split(";\n"):
                connection.exec_driver_sql(statement.rstrip(";"))
            check_size(connection)
            connection.exec_driver_sql("ANALYZE")
            connection.commit()
        yield database


def test_postgres_scans_and_sorts_nothing(large_postgres: Database) -> None:
    said = statements_of(large_postgres)
    assert len(said) > 20
    with large_postgres.connect() as connection:
        for one in said:
            if one.sql.startswith("LOCK"):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN {one.sql}", one.values).scalars().all()  # type: ignore[arg-type]
            if one.reads_all or one.lists_people or " FROM journal_blocks WHERE " in one.words:
                continue  # there is a block for a thousand entries
            scans = [step for step in plan if "Seq Scan" in step]
            assert not scans, (one, plan)
            # a search among at most `SCAN` entries, and the list of a label that is not longer
            is_bounded = ".seq <= " in one.words or " FROM journal_labels WHERE " in one.words
            if not (is_bounded or SEARCHES in one.words or OF_SOME_CLASSES in one.words):
                assert not [step for step in plan if "Sort" in step], (one, plan)


def test_postgres_looks_up_what_a_turn_needs_by_indexes(large_postgres: Database) -> None:
    """With generic plans, as the server makes them for prepared statements."""
    with large_postgres.connect() as connection:
        driver = cast(psycopg.Connection, connection.connection.driver_connection)
        driver.execute("SET plan_cache_mode = force_generic_plan")
        for statement in TURN_STATEMENTS:
            sql, names = statement.numbered()
            driver.execute(f"PREPARE {statement.name} AS {sql}")
            values = ", ".join(["NULL"] * len(names))
            rows = driver.execute(f"EXPLAIN EXECUTE {statement.name}({values})").fetchall()
            plan = [step for (step,) in rows]
            scans = [step for step in plan if "Seq Scan" in step and "roles" not in step]
            assert not scans, plan
            assert not [step for step in plan if "Sort" in step], plan


# --- the owner -------------------------------------------------------------------------------


def test_every_statement_on_owned_data_filters_by_owner(large_sqlite: Database) -> None:
    seen = set[str]()
    for one in statements_of(large_sqlite):
        if one.words.startswith(OF_ALL_OWNERS):
            continue
        for table in OF_AN_OWNER:
            words = one.words
            if f"INSERT INTO {table} " in words:
                assert words.startswith(f"INSERT INTO {table} (owner, ")
            elif f"UPDATE {table} " in words or f"FROM {table} " in words:
                _, found, where = words.partition(" WHERE ")
                assert found
                assert where.startswith(f"{table}.owner = ?"), words
                while where != (where := re.sub(r"\([^()]*\)", "", where)):
                    pass
                assert " OR " not in where
            else:
                continue
            seen.add(table)
    assert seen == set(OF_AN_OWNER)
