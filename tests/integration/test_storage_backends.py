"""A storage backend is one folder and one line: every command works with a registered one."""

from pathlib import Path

import pytest

from chatbot.entrypoints.storage_backends import BACKENDS, backend_of, parse_storage_url
from commands import Run

PASSWORD = "violet kettle drums at noon"
EMAIL = "ana@example.com"


@pytest.fixture
def toy(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The commands, with a backend `toy:DIR` in use."""
    monkeypatch.setitem(BACKENDS, "toy", "toy_backend:ToyBackend")
    monkeypatch.setenv("STORAGE_URL", "toy:box")
    return run


@pytest.mark.parametrize(
    "raw", ["memory:", "json:data", "sqlite:///data/chat.db", "postgresql://db/chatbot"]
)
def test_each_scheme_names_the_backend_that_reads_it(raw: str) -> None:
    url = parse_storage_url(raw)
    backend = backend_of(url)
    assert (url.raw, url.scheme, backend.parse(raw)) == (raw, raw.partition(":")[0], url)
    assert backend.form.startswith(f"{url.scheme}:")


@pytest.mark.parametrize("raw", ["", "toy:box", "json", "memory", ":", "postgresql:", "sqlite:x"])
def test_invalid_url_is_answered_with_the_forms_of_all_backends(raw: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must be json:DIR, sqlite:///FILE, postgresql:.* or mem"
    ):
        parse_storage_url(raw)


def test_a_registered_backend_serves_every_command(
    toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = toy("init")
    assert (code, out.splitlines()[1], err) == (0, "a box for toys in box", "")
    create = ("admin", "create", "--email", EMAIL, "--password-stdin")
    assert toy(*create, text=PASSWORD) == (0, f"admin: {EMAIL}\n", "")
    assert toy("chat", "My name is Ana.")[0] == 0
    assert "ok    storage: toys in box" in toy("doctor")[1]

    saved = (0, "10 saved (5 roles, 1 user, 1 person memory, 1 session, 2 journal entries)\n", "")
    assert toy("backup", "box.jsonl") == saved
    assert toy("migrate", "--from", "toy:box", "--to", "sqlite:///chat.db")[0] == 0
    assert toy("migrate", "--from", "sqlite:///chat.db", "--to", "toy:other")[0] == 0
    assert (tmp_path / "other" / "inner" / "auth" / "users.json").is_file()
    monkeypatch.setenv("STORAGE_URL", "toy:other")
    assert toy("backup", "other.jsonl") == saved
    assert EMAIL in toy("user", "list")[1]


def test_a_backend_without_tables_has_none_to_upgrade(toy: Run) -> None:
    assert toy("init")[0] == 0
    code, out, err = toy("db", "upgrade")
    assert (code, out) == (2, "")
    assert (
        err == "chatbot: STORAGE_URL: toy: has no tables; only sqlite:/// and postgresql:// do.\n"
    )


def test_url_format_of_a_registered_backend_is_listed_in_the_error_for_an_invalid_url(
    toy: Run,
) -> None:
    with pytest.raises(ValueError, match=r"memory: or toy:DIR "):
        parse_storage_url("box")
