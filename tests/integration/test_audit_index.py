"""`chatbot audit verify` names events that filters no longer find, since the index was changed."""

from datetime import UTC, datetime

import pytest

from audit_store import ROOT, AuditStore
from chatbot.adapters.storage.sql.journal_index import BLOCK
from commands import Run

COUNT = BLOCK + 12
EARLY, LATE = "2020-01-01 00:00:00", "2090-01-01 00:00:00"


@pytest.fixture(params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> AuditStore:
    url = "sqlite:///data/chatbot.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
    monkeypatch.setenv("STORAGE_URL", url)
    assert ready("init")[0] == 0
    found = AuditStore()
    found.note(COUNT)
    return found


def findings(run: Run) -> list[str]:
    code, out, err = run("audit", "verify")
    lines = [line for line in out.splitlines() if line.startswith("event")]
    assert (code, err) == (1 if lines else 0, "")
    return lines


def test_event_whose_labels_were_removed_is_named_as_hidden(store: AuditStore, ready: Run) -> None:
    assert findings(ready) == []
    store.execute([("DELETE FROM journal_labels WHERE seq IN (5, 6, 1030)", ())])
    assert ready("audit", "export", "--object", "u5")[1] == ""
    assert findings(ready) == [
        "events 5 to 6: hidden: filtered searches do not return it",
        "event 1030: hidden: filtered searches do not return it",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM journal_blocks",
        f"UPDATE journal_blocks SET last_at = '{EARLY}'",
        f"UPDATE journal_blocks SET first_at = '{LATE}'",
    ],
)
def test_events_whose_block_was_changed_are_named_as_hidden(
    store: AuditStore, ready: Run, change: str
) -> None:
    store.execute([(change, ())])
    assert findings(ready) == [f"events 1 to {BLOCK}: hidden: filtered searches do not return it"]


def test_block_of_events_that_do_not_exist_is_named(store: AuditStore, ready: Run) -> None:
    columns = "(journal, seq, first_at, last_at)"
    bogus = f"VALUES ('audit', 999424, '{EARLY}', '{EARLY}')"
    store.execute([(f"INSERT INTO journal_blocks {columns} {bogus}", ())])
    assert findings(ready) == [
        f"events {BLOCK + 1} to {COUNT}: hidden: filtered searches do not return it"
    ]


def test_pruned_audit_hides_nothing(store: AuditStore, ready: Run) -> None:
    store.transact(lambda tx: store.auditing.prune(tx, ROOT, datetime(2090, 1, 1, tzinfo=UTC)))
    assert store.rows()[0]["seq"] > 1
    assert findings(ready) == []
