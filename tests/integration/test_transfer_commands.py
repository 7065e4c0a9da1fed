"""`chatbot migrate`, `backup`, `restore` and `import`, between real stores."""

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.domain.chat import Lease, MessageRole, SessionId, TurnId
from chatbot.domain.permissions import DEFAULT_ROLES
from chatbot.domain.ports.export import Change, Conversation, ExportTarget, Item, name_of
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from commands import Run
from postgres import new_database
from process import ENVIRONMENT, STARTS_WITHIN_S, running
from samples import (
    ANA,
    CLIENT,
    EVERYTHING,
    ODD_OWNER,
    T0,
    conversation,
    everything_in,
    fill,
    new_message,
    remembered,
    trace_of,
    user,
)

STORES = ["json", "sqlite", "postgres"]
PROGRAM = (sys.executable, "-c", "from chatbot.entrypoints.commands.cli import main; main()")
NewStore = Callable[[str], str]


@pytest.fixture
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Return the URL of a store of this kind that does not exist yet."""
    names = iter("abcdefgh")
    databases = ExitStack()

    def address(kind: str) -> str:
        if kind == "postgres":
            return databases.enter_context(new_database(request.getfixturevalue("postgres")))
        folder = tmp_path / f"store-{next(names)}"
        return f"json:{folder}" if kind == "json" else f"sqlite:///{folder}/chatbot.db"

    with databases:
        yield address


def export_at(url: str) -> ExportTarget:
    parsed = parse_storage_url(url)
    return backend_of(parsed).export(parsed)


def content_of(url: str) -> dict[str, Item]:
    """Everything in a store, by name."""
    with export_at(url) as export:
        return {name_of(item): item for item in everything_in(export)}


def sessions_of(url: str) -> dict[str, Conversation]:
    return {key: item for key, item in content_of(url).items() if isinstance(item, Conversation)}


def filled(url: str, items: list[Item] = EVERYTHING) -> str:
    with export_at(url) as export:
        fill(export, items)
    return url


def many(count: int) -> list[Item]:
    """Some users and short conversations."""
    texts = ["Hi", "Hello! 🐕", "How are you?", "Well."]
    talks = [conversation(n, texts=texts[: n % 5], memory=remembered()) for n in range(1, count)]
    return [*DEFAULT_ROLES.values(), *(user(n) for n in range(1, 20)), *talks]


@contextmanager
def writer(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A writer that appends to three sessions, as the service does; entered after some turns."""
    monkeypatch.setenv("STORAGE_URL", url)
    store = build_storage(load_settings())
    begun, over = Event(), Event()

    async def write() -> None:
        ids = [SessionId(f"{number:032x}") for number in (1, 2, 3)]
        async with store as storage:
            for turn in range(100_000):
                if over.is_set():
                    return
                await storage.transact(_turn(ids[turn % 3], f"turn {turn}"))
                if turn > 20:
                    begun.set()

    thread = Thread(target=lambda: asyncio.run(write()))
    thread.start()
    try:
        assert begun.wait(STARTS_WITHIN_S)
        yield
    finally:
        over.set()
        thread.join()


def _turn(session_id: SessionId, text: str) -> Callable[[Transaction], object]:
    def turn(tx: Transaction) -> None:
        lease: Lease = tx.sessions.acquire(ANA, session_id, TurnId(text))
        tx.sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
        tx.sessions.append(
            lease, new_message(lease, MessageRole.ASSISTANT, f"answer to {text}", ts=T0)
        )
        memory = tx.sessions.memory(ANA, session_id)
        tx.sessions.put_memory(ANA, session_id, replace(memory, summary=text), epoch=0)
        tx.sessions.release(lease)

    return turn


def require_states_of(url: str, later: str) -> None:
    """Check that each session is a consistent earlier snapshot: no answer without its question."""
    afterwards = {item.session.id: item for item in sessions_of(later).values()}
    for found in sessions_of(url).values():
        assert isinstance(found, Conversation)
        whole = afterwards[found.session.id]
        assert isinstance(whole, Conversation)
        assert found.messages == whole.messages[: len(found.messages)]
        assert found.memory.version <= len(found.messages) // 2
        assert found.session.last_seq == len(found.messages)


class TestMigrate:
    @pytest.mark.parametrize("target", STORES)
    @pytest.mark.parametrize("source", STORES)
    def test_migration_copies_everything_and_leaves_the_source_untouched(
        self, run: Run, new_store: NewStore, tmp_path: Path, source: str, target: str
    ) -> None:
        one, other = filled(new_store(source)), new_store(target)
        before = {path: trace_of(path) for path in tmp_path.glob("store-*")}

        assert run("migrate", "--from", one, "--to", other, "--dry-run")[0] == 0
        assert {path: trace_of(path) for path in tmp_path.glob("store-*")} == before
        code, out, err = run("migrate", "--from", one, "--to", other)
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        assert content_of(other) == content_of(one)
        assert {path: trace_of(path) for path in before} == before

        code, out, _ = run("migrate", "--from", one, "--to", other)
        assert (code, out) == (
            0,
            "16 already there (6 roles, 2 users, 2 files, 4 sessions, 2 journal entries)\n",
        )

    @pytest.mark.parametrize("target", STORES)
    def test_killed_run_is_finished_by_the_next_one(
        self, run: Run, new_store: NewStore, target: str
    ) -> None:
        one, other = filled(new_store("json"), many(150)), new_store(target)
        chance, wanted = random.Random(target), content_of(one)
        for reached in sorted(chance.sample(range(1, 120), 2)):
            _killed_when(other, reached, "migrate", "--from", one, "--to", other)
            assert sessions_of(other).keys() <= wanted.keys()
        assert len(sessions_of(other)) > 1

        code, out, _ = run("migrate", "--from", one, "--to", other)
        assert code == 0
        assert "already there" in out
        assert content_of(other) == wanted

    @pytest.mark.parametrize("source", ["json", "sqlite"])
    def test_store_in_use_is_moved_and_once_more_when_it_has_stopped(
        self, ready: Run, new_store: NewStore, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        talks = [conversation(n, texts=[]) for n in (1, 2, 3)]
        one = filled(new_store(source), [*DEFAULT_ROLES.values(), *talks])
        other = new_store("json")
        with writer(one, monkeypatch):
            assert ready("migrate", "--from", one, "--to", other)[0] == 0
            assert ready("migrate", "--from", one, "--to", other)[0] == 0
        require_states_of(other, later=one)
        assert ready("migrate", "--from", one, "--to", other)[0] == 0
        assert content_of(other) == content_of(one)

    def test_items_that_only_the_target_has_are_reported_and_kept(
        self, run: Run, new_store: NewStore
    ) -> None:
        own: list[Item] = [
            conversation(2, texts=["Else"]),
            conversation(3),
            user(2, email="x@example.com"),
        ]
        one = filled(new_store("json"), [user(1), user(2), conversation(1), conversation(2)])
        other = filled(new_store("sqlite"), own)
        code, out, err = run("migrate", "--from", one, "--to", other)
        assert code == 1
        assert [line.split(":")[1].strip() for line in err.splitlines()] == [
            f"user {2:032x}",
            f"session {2:032x} of user {'a' * 32}",
        ]
        sums, others = out.splitlines()
        assert sums == "2 new (1 user, 1 session), 2 different in the target (1 user, 1 session)"
        assert others.startswith("sessions only in the target: 1,")
        there = content_of(other)
        assert all(there.get(name_of(item)) == item for item in own)

    def test_sessions_that_were_deleted_since_are_deleted_when_asked(
        self, run: Run, new_store: NewStore
    ) -> None:
        one = filled(new_store("json"), [conversation(1), conversation(2)])
        other = new_store("sqlite")
        assert run("migrate", "--from", one, "--to", other)[0] == 0
        with export_at(one) as export:
            export.remove(ANA, conversation(2).session.id)
        again = ("migrate", "--from", one, "--to", other)
        assert "--delete-others" in run(*again)[1]
        assert "1 removed" in run(*again, "--delete-others", "--dry-run")[1]
        assert len(sessions_of(other)) == 2
        assert run(*again, "--delete-others")[::2] == (0, "")
        assert list(sessions_of(other).values()) == [conversation(1)]

    def test_database_of_a_killed_service_is_moved_and_left_as_it_was(
        self, run: Run, new_store: NewStore, tmp_path: Path
    ) -> None:
        living, killed = filled(new_store("sqlite")), tmp_path / "store-b"
        with export_at(living) as export:
            export.put([Change(conversation(9), None)])
            shutil.copytree(tmp_path / "store-a", killed)
        assert (killed / "chatbot.db-wal").stat().st_size > 0
        before = {name: trace_of(killed / name) for name in ("chatbot.db", "chatbot.db-wal")}
        other = new_store("json")
        assert run("migrate", "--from", f"sqlite:///{killed}/chatbot.db", "--to", other)[0] == 0
        assert content_of(other) == content_of(living)
        assert {name: trace_of(killed / name) for name in before} == before

    def test_damaged_session_is_named_and_the_others_are_moved(
        self, run: Run, new_store: NewStore, tmp_path: Path
    ) -> None:
        one, other = filled(new_store("json")), new_store("sqlite")
        _damage(tmp_path / "store-a")
        code, out, err = run("migrate", "--from", one, "--to", other)
        assert code == 1
        assert f"session {1:032x} of user {'a' * 32}: unreadable: " in err
        assert "1 unreadable" in out
        assert len(sessions_of(other)) == 3

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--from", "json:none", "--to", "json:b"), "does not exist"),
            (("--from", "json:.", "--to", "json:b"), "does not contain a store"),
            (("--from", "sqlite:///none.db", "--to", "json:b"), "does not exist"),
            (("--from", "mysql://x", "--to", "json:b"), "--from: must be json:DIR"),
            (("--from", "json:data", "--to", "redis:x"), "--to: must be json:DIR"),
            (("--from", "json:data", "--to", "memory:"), "--to: memory: is lost when"),
            (("--from", "json:data", "--to", "json:./data/"), "--to: names the same store"),
            (("--from", "json:data", "--to", "sqlite:///other.db"), "--to: "),
            (
                ("--from", "json:data", "--to", "postgresql://u:s3cret@127.0.0.1:1/x"),
                "--to: No connection to Postgres",
            ),
            (("--from", "json:data"), "--to"),
        ],
    )
    def test_wrong_usage_is_one_line_and_exit_code_2(
        self, ready: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        other = sqlite3.connect(tmp_path / "other.db")
        other.execute("CREATE TABLE theirs (a)")
        other.close()
        code, out, err = ready("migrate", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
        assert "s3cret" not in err

    @pytest.mark.skipif(shutil.which("sh") is None or os.name == "nt", reason="needs ulimit")
    @pytest.mark.parametrize("target", ["json", "sqlite"])
    def test_full_disk_is_one_line_and_the_next_run_resumes(
        self, run: Run, new_store: NewStore, target: str
    ) -> None:
        long = conversation(20, texts=["long " * 50_000])
        one, other = filled(new_store("json"), [*many(20), long]), new_store(target)
        arguments = ("migrate", "--from", one, "--to", other)
        limited = ("sh", "-c", 'ulimit -f 400; exec "$@"', "sh", *PROGRAM, *arguments)
        own = ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1"}  # they would be cut, and stay so
        ended = subprocess.run(limited, env=own, capture_output=True, check=False)
        message = ended.stderr.decode()
        assert ended.returncode == 1
        reason = "The store has no space left."
        if target == "sqlite":  # which calls a file that may not grow an error of the disk
            reason = "The store cannot be read or written."
        assert message.endswith(f": {reason}\n")
        assert message.count("\n") == 1
        assert run(*arguments)[0] == 0
        assert content_of(other) == content_of(one)


def _damage(root: Path) -> None:
    """Change a text of the longest conversation."""
    log = root / "memory" / f"user-{'a' * 32}" / f"{1:032x}.log"
    log.write_bytes(log.read_bytes().replace(b"long", b"lung"))


def _killed_when(url: str, reached: int, *arguments: str) -> None:
    """Run a command in a process that is killed once the store holds enough sessions."""
    process = subprocess.Popen([*PROGRAM, *arguments], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    export = export_at(url)
    while process.poll() is None and _count(export) < reached:
        pass
    process.kill()
    process.wait()


def _count(export: ExportTarget) -> int:
    try:
        with export:
            return len(export.session_keys())
    except Exception:  # noqa: BLE001 - it is being made
        return 0


class TestBackup:
    @pytest.mark.parametrize("target", STORES)
    @pytest.mark.parametrize("source", STORES)
    def test_backup_can_be_restored_into_any_backend(
        self,
        ready: Run,
        new_store: NewStore,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
        target: str,
    ) -> None:
        one, other = filled(new_store(source)), new_store(target)
        monkeypatch.setenv("STORAGE_URL", one)
        assert ready("backup", "b.gz") == (
            0,
            "16 saved (6 roles, 2 users, 2 files, 4 sessions, 2 journal entries)\n",
            "",
        )
        monkeypatch.setenv("STORAGE_URL", other)
        assert ready("restore", "b.gz")[::2] == (0, "")
        assert content_of(other) == content_of(one)
        assert (
            ready("restore", "b.gz")[1]
            == "16 already there (6 roles, 2 users, 2 files, 4 sessions, 2 journal entries)\n"
        )

    @pytest.mark.parametrize("source", ["json", "sqlite"])
    def test_backup_of_a_store_in_use_has_a_consistent_snapshot_of_each_session(
        self, ready: Run, new_store: NewStore, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        talks = [conversation(n, texts=[]) for n in (1, 2, 3)]
        one = filled(new_store(source), [*DEFAULT_ROLES.values(), *talks])
        other = new_store("json")
        with writer(one, monkeypatch):
            assert ready("backup", "b.gz")[0] == 0
        monkeypatch.setenv("STORAGE_URL", other)
        assert ready("restore", "b.gz")[0] == 0
        require_states_of(other, later=one)
        assert all(len(c.messages) > 2 for c in sessions_of(other).values())

    def test_session_that_cannot_be_read_is_named_and_the_others_are_saved(
        self, ready: Run, tmp_path: Path
    ) -> None:
        filled(f"json:{tmp_path}/data")
        _damage(tmp_path / "data")
        code, out, err = ready("backup", "b.gz")
        assert (code, out) == (
            1,
            "15 saved (6 roles, 2 users, 2 files, 3 sessions, 2 journal entries), 1 unreadable\n",
        )
        assert f"session {1:032x} of user {'a' * 32}: unreadable: " in err
        assert BackupFile(tmp_path / "b.gz").verify() == len(EVERYTHING) - 1

    def test_corrupt_backup_is_refused_and_nothing_is_restored(
        self, ready: Run, tmp_path: Path
    ) -> None:
        filled(f"json:{tmp_path}/data")
        assert ready("backup", "b.gz")[0] == 0
        shutil.rmtree(tmp_path / "data" / "operations")  # where it is recorded
        before, backup = trace_of(tmp_path / "data"), tmp_path / "b.gz"
        backup.write_bytes(backup.read_bytes()[:-5])
        code, out, err = ready("restore", "b.gz")
        assert (code, out) == (1, "")
        message = "This is not a valid backup, or it was truncated or modified. Use another backup."
        assert err == f"chatbot: b.gz to {tmp_path / 'data'}: {message}\n"
        shutil.rmtree(tmp_path / "data" / "operations")
        assert trace_of(tmp_path / "data") == before

    def test_newer_target_is_not_overwritten_by_an_older_source(
        self, ready: Run, tmp_path: Path
    ) -> None:
        filled(f"json:{tmp_path}/data")
        assert ready("backup", "b.gz")[0] == 0
        there = conversation(3, owner=ODD_OWNER)
        longer = conversation(3, owner=there.session.owner, texts=["Hi", "Hello!", "More"])
        with export_at(f"json:{tmp_path}/data") as export:
            export.put([Change(longer, there)])
        code, out, err = ready("restore", "b.gz")
        assert code == 1
        assert "newer in the target" in err
        assert (
            out
            == "15 already there (6 roles, 2 users, 2 files, 3 sessions, 2 journal entries), 1 newer in the target (1 session)\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("backup", "there.gz"), 1, "there.gz: the file already exists"),
            (("backup", "none/b.gz"), 2, "FILE: the folder"),
            (("backup",), 2, "FILE"),
            (("restore", "none.gz"), 2, "FILE: none.gz does not exist"),
            (("restore", "there.gz"), 1, "This is not a valid backup"),
        ],
    )
    def test_wrong_usage_is_one_line(
        self, ready: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
    ) -> None:
        (tmp_path / "there.gz").write_bytes(b"precious")
        found = ready(*arguments)
        assert found[:2] == (code, "")
        assert message in found[2]
        assert found[2].count("\n") == 1
        assert (tmp_path / "there.gz").read_bytes() == b"precious"


FIRST_ID, SECOND_ID = "a1" * 16, "b2" * 16
STORED = {
    "summary": "Ana has a dog.",
    "structured_memory": {"profile": {"name": "Ana"}, "facts": ["has a dog"]},
    "messages": [
        {"role": "user", "content": "Hola, soy Ana", "ts": "2025-01-31T09:30:00Z"},
        {"role": "assistant", "content": "¡Hola!", "ts": "2025-01-31T09:30:02Z"},
    ],
}


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    (folder / "memory").mkdir(parents=True)
    (folder / f"session_{FIRST_ID}.json").write_text(json.dumps(STORED), "utf-8")
    (folder / "memory" / f"session_{SECOND_ID}.json").write_text(json.dumps(STORED), "utf-8")
    return folder


class TestImport:
    def test_imported_sessions_belong_to_the_given_owner_and_source_files_stay(
        self, ready: Run, first_version: Path, tmp_path: Path
    ) -> None:
        before = trace_of(first_version)
        code, out, err = ready("import", str(first_version))
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == "2 new (2 sessions)"
        assert (
            ready("import", str(first_version))[1].splitlines()[0] == "2 already there (2 sessions)"
        )
        with export_at(f"json:{tmp_path}/data") as export:
            assert export.session_keys() == {(CLIENT, FIRST_ID), (CLIENT, SECOND_ID)}

        filled(f"json:{tmp_path}/data", [user(1)])
        code, out, _ = ready("import", str(first_version), "--owner", "USER1@example.com")
        assert (code, out.splitlines()[0]) == (0, "2 new (2 sessions)")
        assert trace_of(first_version) == before

    def test_broken_file_is_named_and_the_others_are_imported(
        self, ready: Run, first_version: Path
    ) -> None:
        broken = first_version / "session_demo.json"
        broken.write_text("{}", "utf-8")
        code, out, err = ready("import", str(first_version))
        assert code == 1
        assert err.startswith(
            f"chatbot: {broken}: unreadable: a session id has 32 hexadecimal digits"
        )
        assert out.splitlines()[0] == "2 new (2 sessions), 1 unreadable"

    def test_unknown_owner_and_missing_folder_are_one_line(
        self, ready: Run, first_version: Path
    ) -> None:
        code, _, err = ready("import", str(first_version), "--owner", "nobody@example.com")
        assert (code, err.count("\n")) == (1, 1)
        assert "--owner: no user has this e-mail address" in err
        code, _, err = ready("import", "none")
        assert (code, err) == (2, "chatbot: DIR: the folder none does not exist.\n")

    async def test_service_continues_imported_sessions(
        self, ready: Run, first_version: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "data" / "memory" / f"session_{FIRST_ID}.json").write_bytes(
            (first_version / f"session_{FIRST_ID}.json").read_bytes()
        )
        async with running(tmp_path) as service:
            message = service.out.read_text("utf-8")
            assert f"legacy sessions to import: 1 (`chatbot import {tmp_path / 'data'}`)" in message
        assert await asyncio.to_thread(ready, "import", str(tmp_path / "data")) is not None
        async with running(tmp_path) as service:
            assert "legacy sessions" not in service.out.read_text("utf-8")
            body = {"prompt": "¿Cómo me llamo?", "session_id": FIRST_ID}
            assert "Ana" in (await service.answer("POST", "/chat", json=body))["text"]
            found = await service.answer("GET", f"/sessions/{FIRST_ID}")
        assert [message["content"] for message in found["messages"]][:2] == [
            "Hola, soy Ana",
            "¡Hola!",
        ]
        assert found["structured_memory"]["facts"] == ["has a dog"]
        code, out, _ = await asyncio.to_thread(ready, "import", str(tmp_path / "data"))
        assert (code, out.splitlines()[0]) == (0, "1 newer in the target (1 session)")


def test_moving_commands_are_refused_with_memory_storage(
    ready: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORAGE_URL", "memory:")
    for command in (("backup", "b.gz"), ("restore", "b.gz"), ("import", str(tmp_path))):
        assert ready(*command)[0] == 1
    assert not os.path.exists("b.gz")  # noqa: PTH110
