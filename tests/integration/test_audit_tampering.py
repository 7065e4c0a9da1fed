"""`chatbot audit verify` on real files and tables that someone without the key has changed."""

import re
from collections.abc import Callable, Sequence

import pytest

from audit_store import AuditStore, Row
from commands import Run

COUNT = 12


@pytest.fixture(params=["json", "sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> AuditStore:
    """Twelve events."""
    if request.param == "sqlite":
        monkeypatch.setenv("STORAGE_URL", "sqlite:///data/chatbot.db")
    elif request.param == "postgres":
        monkeypatch.setenv("STORAGE_URL", request.getfixturevalue("postgres_database"))
    assert ready("init")[0] == 0
    found = AuditStore()
    found.note(COUNT)
    return found


def findings(run: Run, *options: str) -> list[str]:
    """The findings without their details; the exit code tells whether there are any."""
    code, out, err = run("audit", "verify", *options)
    lines = [line for line in out.splitlines() if re.match("events? [0-9]", line)]
    assert (code, err) == (1 if lines else 0, "")
    return [":".join(line.split(":")[:2]) for line in lines]


def renumbered(rows: Sequence[Row]) -> list[Row]:
    """The rows with numbers that have no gaps, as someone would hide what was done."""
    return [{**row, "seq": number} for number, row in enumerate(rows, 1)]


def edited(row: Row, **changes: object) -> Row:
    return {**row, "content": {**row["content"], **changes}}


def test_untouched_chain_is_intact(store: AuditStore, ready: Run) -> None:
    assert len(store.rows()) == COUNT
    code, out, _ = ready("audit", "verify")
    assert code == 0
    assert re.fullmatch(rf"ok: {COUNT} events, head {COUNT}:[0-9a-f]{{64}}\n", out)
    head = ready("audit", "head")[1].strip()
    assert out == f"ok: {COUNT} events, head {head}\n"
    store.note(3)
    assert findings(ready, "--head", head) == []


CHANGES: dict[str, Callable[[Row], Row]] = {
    "outcome": lambda row: edited(row, outcome="refused"),
    "actor": lambda row: edited(row, actor={"cli_user": "someone else"}),
    "mac": lambda row: edited(row, mac="0" * 64),
    "prev": lambda row: edited(row, prev="f" * 64),
    "more": lambda row: edited(row, more=1),
    "at": lambda row: {**row, "at": row["at"].replace("20", "19", 1)},
    "empty": lambda row: {**row, "content": {}},
}


def test_edited_event_is_named_whatever_was_edited(store: AuditStore, ready: Run) -> None:
    rows = store.rows()
    for name, change in CHANGES.items():
        for number in (1, 5, COUNT):
            behind = rows[number:]
            store.write([*rows[: number - 1], change(rows[number - 1]), *behind])
            assert findings(ready) == [f"event {number}: edited"], name


@pytest.mark.parametrize("is_hidden", [False, True])
def test_removed_events_are_named(store: AuditStore, ready: Run, *, is_hidden: bool) -> None:
    rows = store.rows()
    del rows[4:7], rows[1]
    store.write(renumbered(rows) if is_hidden else rows)
    assert findings(ready) == ["event 2: removed", "events 5 to 7: removed"]


@pytest.mark.parametrize("is_hidden", [False, True])
def test_removed_beginning_is_named(store: AuditStore, ready: Run, *, is_hidden: bool) -> None:
    rows = store.rows()[3:]
    store.write(renumbered(rows) if is_hidden else rows)
    assert findings(ready) == ["events 1 to 3: removed"]


def test_inserted_event_is_named(store: AuditStore, ready: Run) -> None:
    rows = store.rows()
    forged = edited(rows[5], object={"type": "user", "id": "forged"})
    store.write(renumbered([*rows[:5], forged, *rows[5:]]))
    assert findings(ready) == ["event 6: inserted"]


def test_copied_event_is_named_as_inserted(store: AuditStore, ready: Run) -> None:
    rows = store.rows()
    store.write(renumbered([*rows[:8], rows[2], *rows[8:]]))
    assert findings(ready) == ["event 3: inserted"]


@pytest.mark.parametrize("is_hidden", [False, True])
def test_reordered_events_are_named(store: AuditStore, ready: Run, *, is_hidden: bool) -> None:
    rows = store.rows()
    rows[3], rows[4] = rows[4], rows[3]
    if is_hidden or not store.is_json:  # tables have no order but that of the numbers
        rows = renumbered(rows)
    store.write(rows)
    assert findings(ready) == ["event 4: reordered"]


def test_truncated_end_is_named_if_the_head_is_known(store: AuditStore, ready: Run) -> None:
    head = ready("audit", "head")[1].strip()
    store.write(store.rows()[:-3])
    assert findings(ready) == []
    assert findings(ready, "--head", head) == [f"events {COUNT - 2} to {COUNT}: truncated"]


def test_end_that_was_truncated_and_continued_is_named(store: AuditStore, ready: Run) -> None:
    head = ready("audit", "head")[1].strip()
    store.write(store.rows()[:-3])
    store.note(5)
    assert findings(ready) == []
    assert findings(ready, "--head", head) == [f"event {COUNT}: truncated"]


def test_journal_that_was_emptied_is_truncated(store: AuditStore, ready: Run) -> None:
    head = ready("audit", "head")[1].strip()
    store.write([])
    assert findings(ready, "--head", head) == [f"events 1 to {COUNT}: truncated"]
    assert ready("audit", "verify")[1] == "ok: 0 events, no events\n"


def test_each_kind_is_named_beside_the_others(store: AuditStore, ready: Run) -> None:
    rows = store.rows()
    rows[1] = edited(rows[1], outcome="failed")
    forged = edited(rows[7], mac="f" * 64)
    rows[9], rows[10] = rows[10], rows[9]
    store.write(renumbered([*rows[:4], *rows[5:8], forged, *rows[8:]]))
    assert findings(ready) == [
        "event 2: edited",
        "event 5: removed",
        "event 8: inserted",
        "event 10: reordered",
    ]


def test_another_key_matches_nothing(
    store: AuditStore, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.rows()
    monkeypatch.setenv("AUDIT_KEY", "another-key-6f1d0a5b7c9e2f4a8b3c5d7e")
    assert findings(ready) == [f"events 1 to {COUNT}: edited"]
    assert "AUDIT_KEY" in ready("audit", "verify")[1]


@pytest.mark.parametrize("head", ["", "12", "12:zz", f"x:{'0' * 64}", f"1:{'0' * 63}"])
def test_malformed_head_is_refused(ready: Run, head: str) -> None:
    code, out, err = ready("audit", "verify", "--head", head)
    assert (code, out) == (2, "")
    assert "--head" in err
