"""Commands on a whole store are recorded in it, in a chain that is not copied."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit_store import AuditStore
from commands import Run

OTHER = {
    "json": "json:other",
    "sqlite": "sqlite:///other/chatbot.db",
}


@pytest.fixture(params=["json", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, ready: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with five events of the audit."""
    own = {"json": "json:data", "sqlite": "sqlite:///data/chatbot.db"}
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_database")
    else:
        found = own[request.param]
    monkeypatch.setenv("STORAGE_URL", found)
    assert ready("init")[0] == 0
    AuditStore().note(5)
    return found


def operations(run: Run) -> list[tuple[object, object, object]]:
    """What was done with the store: action, outcome and the name of what it was done with."""
    code, out, err = run("audit", "export", "--operations")
    assert (code, err) == (0, "")
    events = map(json.loads, out.splitlines())
    return [(each["action"], each["outcome"], each["object"]["id"]) for each in events]


def chains(run: Run, *, code: int = 0) -> Sequence[str]:
    """What `audit verify` says of the audit and of the operations, without the heads."""
    found, out, err = run("audit", "verify")
    assert (found, err) == (code, "")
    return [line.split(", head")[0] for line in out.splitlines()]


def test_backup_is_recorded_in_its_store_and_not_in_the_file(url: str, ready: Run) -> None:
    assert ready("backup", "b.gz")[::2] == (0, "")
    assert ready("backup", "b.gz")[0] == 1  # the file exists
    assert operations(ready) == [
        ("store.backup", "allowed", "b.gz"),
        ("store.backup", "failed", "b.gz"),
    ]
    assert chains(ready) == ["ok: 6 events", "operations: ok: 2 events"]


@pytest.mark.parametrize("target", OTHER)
def test_chains_verify_after_a_restore_and_the_next_one_is_no_conflict(
    url: str, ready: Run, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    assert ready("backup", "first.gz")[0] == 0
    AuditStore().note(2)
    assert ready("backup", "second.gz")[0] == 0
    head = ready("audit", "head")[1].strip()
    monkeypatch.setenv("STORAGE_URL", OTHER[target])
    assert ready("restore", "first.gz", "--dry-run")[0] == 0
    for file in ("first.gz", "second.gz"):
        assert ready("restore", file)[::2] == (0, "")
    assert ready("audit", "verify", "--head", head)[0] == 0
    assert chains(ready) == ["ok: 7 events", "operations: ok: 2 events"]
    assert operations(ready) == [
        ("store.restore", "allowed", "first.gz"),
        ("store.restore", "allowed", "second.gz"),
    ]


@pytest.mark.parametrize("target", OTHER)
def test_chains_verify_after_a_migration_and_the_next_one_is_no_conflict(
    url: str, ready: Run, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    for _ in range(2):
        assert ready("migrate", "--from", url, "--to", OTHER[target], "--dry-run")[0] == 0
        assert ready("migrate", "--from", url, "--to", OTHER[target])[::2] == (0, "")
        AuditStore().note(1)
    assert operations(ready) == []
    source = str(AuditStore().url)
    monkeypatch.setenv("STORAGE_URL", OTHER[target])
    assert chains(ready) == ["ok: 6 events", "operations: ok: 2 events"]
    assert operations(ready) == [("store.migrate", "allowed", source)] * 2


def test_import_and_upgrade_are_recorded(url: str, ready: Run, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert ready("import", "old")[0] == 0
    found = [("store.import", "allowed", "old")]
    if not url.startswith("json:"):
        assert ready("db", "upgrade")[0] == 0
        found.append(("store.upgrade", "allowed", url.partition(":")[0]))
    assert operations(ready) == found


def test_reading_the_operations_is_recorded_in_the_audit(url: str, ready: Run) -> None:
    assert operations(ready) == []
    last = AuditStore().rows()[-1]["content"]
    assert (last["action"], last["object"]["id"]) == ("audit.read", "operations"), url


def test_changed_operation_is_found(ready: Run, tmp_path: Path) -> None:
    assert ready("backup", "b.gz")[0] == 0
    [file] = (tmp_path / "data" / "operations").glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b"b.gz", b"c.gz"))
    assert any("operations: event 1: edited" in line for line in chains(ready, code=1))


def test_backup_of_a_read_only_store_is_made_with_a_warning(ready: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "operations").write_text("in the way")
    code, _, err = ready("backup", "b.gz")
    assert (code, err) == (0, "chatbot: the command could not be recorded in the store\n")
    assert (tmp_path / "b.gz").exists()
