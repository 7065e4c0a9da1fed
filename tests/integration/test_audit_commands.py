"""`chatbot audit head`, `export` and `receipt`."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_store import AuditStore
from chatbot.domain.audit_chain import NO_EVENTS
from chatbot.domain.erasure import Erasure, Receipt, receipt_of
from chatbot.domain.identity import UserId
from chatbot.domain.text import rfc3339
from commands import Run
from programs import program

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def store(ready: Run) -> AuditStore:
    assert ready("audit", "head") == (0, f"{NO_EVENTS}\n", "")
    found = AuditStore()
    found.note(5)
    return found


def exported(run: Run, *options: str) -> list[dict[str, object]]:
    code, out, err = run("audit", "export", *options)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_export_prints_each_event_as_a_line_and_is_recorded(store: AuditStore, ready: Run) -> None:
    before = store.rows()
    events = exported(ready)
    assert [each["seq"] for each in events] == [1, 2, 3, 4, 5]
    assert events[0] == {"seq": 1, "at": before[0]["at"], **before[0]["content"]}
    last = store.rows()[-1]["content"]
    assert (last["action"], last["reason"]) == ("audit.read", "stream: all events")
    assert set(last["actor"]) == {"client", "cli_user"}
    assert [each["seq"] for each in exported(ready, "--action", "audit.read")] == [6]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--object", "u3"), ["u3"]),
        (("--actor", "root", "--object", "u1", "--outcome", "allowed"), ["u1"]),
        (("--outcome", "refused"), []),
        (("--to", "2020-01-01"), []),
        (("--from", "2020-01-01", "--object", "u2"), ["u2"]),
    ],
)
def test_export_takes_the_filters_of_the_route(
    store: AuditStore, ready: Run, options: tuple[str, ...], expected: list[str]
) -> None:
    assert len(store.rows()) == 5
    assert [each["object"]["id"] for each in exported(ready, *options)] == expected  # type: ignore[index] # an object


@pytest.mark.parametrize(
    "options",
    [
        *(("--from", "yesterday"), ("--to", "2026-13-01"), ("--actor", ""), ("--object", "a\x1bb")),
        *(("--action", "user.fly"), ("--outcome", "maybe"), ("--actor", "a@example.com")),
    ],
)
def test_bad_filters_are_refused(store: AuditStore, ready: Run, options: tuple[str, ...]) -> None:
    code, out, err = ready("audit", "export", *options)
    assert (code, out) == (2, "")
    assert options[0] in err
    assert len(store.rows()) == 5


def test_events_in_files_are_read_with_jq(store: AuditStore) -> None:
    command = [program("jq"), "-r", ".content.object.id", str(store.file)]
    found = subprocess.run(
        command, capture_output=True, check=True, encoding="utf-8"
    )  # our own words
    assert found.stdout.split() == ["u1", "u2", "u3", "u4", "u5"]


def written(receipt: Receipt, path: Path, **changes: object) -> str:
    found = {
        "receipt_id": receipt.receipt_id,
        "erased": dict(receipt.erased),
        "at": rfc3339(receipt.at),
        "mac": receipt.mac,
    }
    path.write_text(json.dumps({"deleted": True, "receipt": found | changes}), "utf-8")
    return str(path)


def test_receipt_is_checked(store: AuditStore, ready: Run, tmp_path: Path) -> None:
    erasure = Erasure(
        user_id=UserId("u1"), receipt_id="r1", begun_at=NOW, erased={"messages": 4, "sessions": 2}
    )
    receipt = receipt_of(erasure, at=NOW, key=store.settings.auth.raw_audit_key.encode())
    path = tmp_path / "receipt.json"
    code, out, err = ready("audit", "receipt", written(receipt, path))
    assert (code, err) == (0, "")
    assert out == f"valid: receipt r1 of {rfc3339(NOW)}: messages 4, sessions 2\n"
    changes: list[dict[str, object]] = [
        {"receipt_id": "r2"},
        {"erased": {"messages": 5, "sessions": 2}},
        {"at": "2026-01-30T00:00:00Z"},
        {"mac": "0" * 64},
    ]
    for change in changes:
        code, out, err = ready("audit", "receipt", written(receipt, path, **change))
        assert (code, out) == (1, "")
        assert "was changed" in err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"receipt": 1}', '{"receipt_id": "r"}'])
def test_what_is_not_a_receipt_is_refused(ready: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(text, "utf-8")
    code, out, err = ready("audit", "receipt", str(path))
    assert (code, out) == (1, "")
    assert "not a receipt" in err


def test_refused_command_is_recorded_with_who_ran_it(ready: Run) -> None:
    password = "violet kettle drums at noon\n"
    email = "ana@example.com"
    assert ready("admin", "create", "--email", email, "--password-stdin", text=password)[0] == 0
    assert ready("user", "disable", email)[0] == 1
    found = AuditStore().rows()[-1]["content"]
    assert (found["action"], found["outcome"]) == ("access.refuse", "refused")
    assert found["object"] == {"type": "command", "id": "user disable"}
    assert found["reason"] == "LastAdministrator"
    assert found["actor"]["cli_user"]
    assert email not in str(found)


def test_doctor_names_a_key_that_is_not_that_of_the_newest_event(
    store: AuditStore, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line() -> str:
        [found] = [each for each in ready("doctor")[1].splitlines() if " audit: " in each]
        return found

    assert line() == "ok    audit: the newest event, 5, matches AUDIT_KEY"
    old = store.settings.auth.audit_keys[0]
    monkeypatch.setenv("AUDIT_KEY", "Zq8vT2mX5kR9wB3nY7cF1hJ6pL4sD0gA")
    assert line().startswith("FAIL  audit: the newest event, 5, does not match AUDIT_KEY")
    monkeypatch.setenv("AUDIT_KEY_PREVIOUS", old)
    assert line().startswith("ok    audit: ")
