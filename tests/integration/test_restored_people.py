"""An older backup brings erased people back: `chatbot restore` names them."""

from pathlib import Path

import pytest

from commands import Run

EMAIL, OTHER = "eva@example.com", "ana@example.com"
BACK = f"chatbot: {EMAIL} had been erased and is back. Fix: chatbot user delete {EMAIL}\n"


@pytest.mark.parametrize("url", ["json:data", "sqlite:///people.db"])
def test_restore_names_the_people_who_had_been_erased(
    ready: Run, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if url != "json:data":
        monkeypatch.setenv("STORAGE_URL", url)
        assert ready("init", "--upgrade")[0] in {0, 1}
        assert ready("db", "upgrade")[0] == 0
    for email in (EMAIL, OTHER):
        made = ready(
            *("user", "create", "--email", email, "--role", "employee", "--department", "HR"),
            "--one-time",
        )
        assert made[0] == 0, made
    assert ready("backup", str(tmp_path / "b.gz"))[0] == 0
    assert ready("user", "delete", EMAIL, "--yes")[0] == 0
    assert ready("restore", str(tmp_path / "b.gz"))[2].endswith(BACK)
    assert ready("user", "delete", EMAIL, "--yes")[0] == 0
    assert BACK not in ready("backup", str(tmp_path / "c.gz"))[2]
    assert BACK not in ready("restore", str(tmp_path / "c.gz"))[2]
