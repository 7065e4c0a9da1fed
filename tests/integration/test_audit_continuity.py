"""`chatbot audit verify` after what happens to an honest chain: a crash, and a new key."""

import os
import re
import subprocess
import sys
from pathlib import Path

from audit_store import AuditStore
from commands import Run

PROGRAM = """
import os
from audit_store import ROOT, AuditStore, event

store = AuditStore()

def change(tx):
    with store.auditing.recording(tx, ROOT, event(9)):
        os._exit(1)

store.transact(change)
"""


def test_change_whose_process_died_in_between_is_named_and_no_finding(
    ready: Run, tmp_path: Path
) -> None:
    AuditStore().note(2)
    paths = [path for path in sys.path if path.endswith("support")]
    died = subprocess.run(  # our own program
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": paths[0]},
        cwd=tmp_path,
        check=False,
    )
    assert died.returncode == 1
    AuditStore().note(1)
    code, out, err = ready("audit", "verify")
    assert (code, err) == (0, "")
    note, result = out.splitlines()
    assert note.startswith("note: event 3: user.create was started, but its end is not recorded")
    assert result.startswith("ok: 4 events")


def test_events_under_the_previous_key_verify_for_as_long_as_it_is_kept(
    ready: Run, tmp_path: Path
) -> None:
    AuditStore().note(3)
    for _ in range(2):
        assert ready("secrets", "rotate", "audit")[::2] == (0, "")
        AuditStore().note(1)
    code, out, _ = ready("audit", "verify")
    assert (code, out.count("\n")) == (0, 1), out
    assert re.match("ok: 9 events", out)  # each rotation is an intent and its end
    env = tmp_path / ".env"
    kept = [line for line in env.read_text("utf-8").splitlines() if "PREVIOUS" not in line]
    env.write_text("\n".join(kept) + "\n", "utf-8")
    code, out, _ = ready("audit", "verify")
    assert code == 1
    assert "event 1: edited" in out or "events 1 to" in out
