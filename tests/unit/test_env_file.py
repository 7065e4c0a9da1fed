"""Changes of `.env`: only the lines that are meant."""

import os
import stat
from pathlib import Path

import pytest

from chatbot.entrypoints.settings.env_file import change, changed
from chatbot.entrypoints.settings.subject import SettingsError

ODD = """\
# A comment with JWT_SECRET=not this one

export API_KEY='with a # and a space'
TEXT="two
JWT_SECRET=inside a text
lines"
  JWT_SECRET = old # the one
NO_VALUE
EMPTY=
"""


def test_line_of_a_setting_gets_another_value_and_no_other_line_changes() -> None:
    wanted = ODD.replace("  JWT_SECRET = old # the one", "  JWT_SECRET =new")
    assert changed(ODD, {"JWT_SECRET": "new"}) == wanted


def test_settings_that_are_missing_are_appended() -> None:
    assert changed(ODD, {"A": "1", "B": "2"}) == f"{ODD}A=1\nB=2\n"
    assert changed("X=1", {"A": "1"}) == "X=1\nA=1\n"
    assert changed("X=1\r\nY=2", {"A": "1"}) == "X=1\r\nY=2\r\nA=1\r\n"
    assert changed("", {"A": "1"}) == "A=1\n"


def test_every_line_of_a_setting_is_changed_however_it_is_written() -> None:
    text = "a=1\nexport A=2\n'A'=3\nA\n"
    assert changed(text, {"A": "new"}) == "a=new\nexport A=new\n'A'=new\nA=new\n"


@pytest.mark.parametrize(
    "value", ["a b", "it's", 'say "x"', "back\\slash", "a#b", "#", "=", "ñ", "$x"]
)
def test_value_is_read_as_it_was_given(value: str) -> None:
    text = changed("X=1\n", {"A": value})
    assert changed(text, {"A": "plain"}) == "X=1\nA=plain\n", "it is one line of its own"


@pytest.mark.parametrize(
    ("text", "value"),
    [("X='open\n", "it's"), ('X="open\n', 'a "b"'), ("X=1\n", "${HOME}")],
)
def test_change_that_would_be_read_otherwise_is_refused(text: str, value: str) -> None:
    with pytest.raises(SettingsError, match="by hand"):
        changed(text, {"A": value})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
@pytest.mark.parametrize(
    ("before", "after"), [(0o600, 0o600), (0o644, 0o600), (0o640, 0o640), (0o660, 0o640)]
)
def test_file_is_only_for_its_owner_and_the_group_that_could_read_it(
    tmp_path: Path, before: int, after: int
) -> None:
    path = tmp_path / ".env"
    path.write_bytes("\ufeffX=ñ\r\n".encode())
    path.chmod(before)
    change(path, {"A": "1"})
    assert mode_of(path) == after
    assert path.read_bytes() == "\ufeffX=ñ\r\nA=1\r\n".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few accounts make links")
def test_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / ".env"
    real.write_text("X=1\n", "utf-8")
    link.symlink_to(real)
    change(link, {"A": "1"})
    assert link.is_symlink()
    assert real.read_text("utf-8") == "X=1\nA=1\n"


def test_another_command_at_work_is_not_disturbed(tmp_path: Path) -> None:
    path, other = tmp_path / ".env", tmp_path / ".env.new"
    path.write_text("X=1\n", "utf-8")
    other.write_text("theirs", "utf-8")
    with pytest.raises(SettingsError, match="another command"):
        change(path, {"A": "1"})
    assert (path.read_text("utf-8"), other.read_text("utf-8")) == ("X=1\n", "theirs")


@pytest.mark.parametrize("step", ["fsync", *(["fchmod"] if hasattr(os, "fchmod") else [])])
def test_failure_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / ".env"
    path.write_text("X=1\n", "utf-8")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(SettingsError, match="No space left"):
        change(path, {"A": "1"})
    monkeypatch.undo()
    assert path.read_text("utf-8") == "X=1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_edit_in_between_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("X=1\n", "utf-8")
    sync = os.fsync

    def editing(handle: int) -> None:
        path.write_text("X=2\n", "utf-8")
        sync(handle)

    monkeypatch.setattr(os, "fsync", editing)
    with pytest.raises(SettingsError, match="in the meantime"):
        change(path, {"A": "1"})
    assert path.read_text("utf-8") == "X=2\n"
