"""Files and streams as Windows writes them: a byte order mark, CR LF, UTF-16."""

import json
from operator import attrgetter
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from chatbot.domain.text import NotUtf8, decode_utf8, unquoted
from chatbot.entrypoints.settings.loading import ignored_names, load_settings
from chatbot.entrypoints.settings.subject import SettingsError
from commands import Run

PASSWORD = "violet kettle drums at noon"
BOM = b"\xef\xbb\xbf"
LEGACY_ID = "0123456789abcdef" * 2


def as_on_windows(path: Path) -> None:
    path.write_bytes(BOM + path.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_text_in_another_encoding_is_not_taken_for_utf8(encoding: str) -> None:
    with pytest.raises(NotUtf8, match="save it as UTF-8"):
        decode_utf8("contraseña".encode(encoding))


@pytest.mark.parametrize(
    "raw",
    [
        *("key", " key\n", "\tkey\r\n", "\ufeffkey", "\u200bkey\u00a0", '"key"', "'key'"),
        *(
            '"key"\r\n',
            '" key "',
            "\u201ckey\u201d",
            "\u2018key\u2019",
            "«key»",
            "\ufeff'\"key\"'\n",
        ),
    ],
)
def test_whitespace_and_quotes_around_a_value_are_removed(raw: str) -> None:
    assert unquoted(raw) == "key"


@pytest.mark.parametrize("raw", ['"', '"key', "key'", '"a" and "b"', "it's", ""])
def test_unpaired_quotes_around_a_value_are_kept(raw: str) -> None:
    assert unquoted(raw) == raw


def test_env_file_with_a_byte_order_mark_is_read_from_its_first_line(
    run: Run, tmp_path: Path
) -> None:
    assert run("init")[0] == 0
    path = tmp_path / ".env"
    path.write_text(path.read_text("utf-8").partition("\n")[2] + "PORT=9001\n", "utf-8")
    as_on_windows(path)
    assert path.read_bytes().startswith(BOM + b"API_KEY=")
    assert load_settings().http.port == 9001
    assert list(ignored_names()) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_env_file_in_utf16_is_named_as_such(ready: Run, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / ".env"
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    code, out, err = ready("serve")
    assert (code, out) == (2, "")
    assert err == "chatbot: .env: cannot be read: it is UTF-16 text; save it as UTF-8.\n"


def test_instructions_lose_their_byte_order_mark_and_keep_their_lines(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "about.txt"
    path.write_text("Somos una panadería.\nAbrimos a las 7.\n", "utf-8", newline="\n")
    as_on_windows(path)
    monkeypatch.setenv("ASSISTANT_INSTRUCTIONS_FILE", "about.txt")
    assert load_settings().assistant.instructions == "Somos una panadería.\nAbrimos a las 7.\n"
    path.write_text("Somos", "utf-16")
    with pytest.raises(SettingsError, match="UTF-16"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("API_KEY", "auth.api_key"),
        ("JWT_SECRET", "auth.jwt_secret"),
        ("OPENAI_API_KEY", "model.api_key"),
        ("STORAGE_URL", "storage.url"),
    ],
)
def test_secret_file_of_a_windows_editor_holds_the_secret_alone(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, attribute: str
) -> None:
    value = "json:elsewhere" if name == "STORAGE_URL" else "Zm4Nb2Vc8Xq6Wp0Le1Kr3Jt5Hy7Gu9Fi"
    (tmp_path / "secret.txt").write_bytes(BOM + f'"{value}"\r\n'.encode())
    monkeypatch.setenv(name, "")
    monkeypatch.setenv(f"{name}_FILE", "secret.txt")
    found = attrgetter(attribute)(load_settings())
    assert (found.raw if name == "STORAGE_URL" else found.get_secret_value()) == value


@pytest.mark.parametrize("file", ["users.json", "roles.json"])
def test_users_and_roles_edited_on_windows_are_accepted(
    ready: Run, tmp_path: Path, file: str
) -> None:
    create = ("user", "create", "--role", "employee", "--department", "x", "--password-stdin")
    assert ready(*create, "--email", "ana@example.com", text=PASSWORD)[0] == 0
    path = tmp_path / "data" / "auth" / file
    as_on_windows(path)
    assert ready(*create, "--email", "eva@example.com", text=PASSWORD)[0] == 0
    people = json.loads((tmp_path / "data" / "auth" / "users.json").read_text("utf-8"))["users"]
    assert [user["email"] for user in people] == ["ana@example.com", "eva@example.com"]
    assert f"storage: {tmp_path / 'data'}" in ready("doctor")[1]


@pytest.mark.parametrize("file", ["users.json", "roles.json"])
def test_users_and_roles_in_utf16_are_reported_by_doctor(
    ready: Run, tmp_path: Path, file: str
) -> None:
    (tmp_path / "data" / "auth" / file).write_text('{"version": 1}', "utf-16")
    code, out, _ = ready("doctor")
    assert code == 1
    assert f"{file}: foreign: {file}: it is UTF-16 text; save it as UTF-8. Fix: " in out


def test_session_that_windows_has_written_is_imported(ready: Run, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    path = folder / f"session_{LEGACY_ID}.json"
    path.write_text(
        json.dumps({"messages": [{"role": "user", "content": "Hola"}]}, indent=1), "utf-8"
    )
    as_on_windows(path)
    assert ready("import", "old")[0] == 0
    assert list((tmp_path / "data" / "memory").glob(f"*/{LEGACY_ID}*"))


@pytest.mark.parametrize("before", [b"", BOM])
@pytest.mark.parametrize("after", [b"", b"\n", b"\r\n"])
def test_password_on_standard_input_is_utf8_whatever_the_system_reads(
    ready: Run, tmp_path: Path, before: bytes, after: bytes
) -> None:
    password = "contraseña de Ñandú 42"
    raw = before + password.encode() + after
    assert ready("admin", "create", "--email", "a@b.c", "--password-stdin", raw=raw)[0] == 0
    [user] = json.loads((tmp_path / "data" / "auth" / "users.json").read_text("utf-8"))["users"]
    assert PasswordHasher().verify(user["password_hash"], password)


def test_password_in_utf16_is_refused_without_being_shown(ready: Run) -> None:
    raw = f"{PASSWORD}\r\n".encode("utf-16")
    code, _, err = ready("admin", "create", "--email", "a@b.c", "--password-stdin", raw=raw)
    assert code == 1
    assert "UTF-16" in err
    assert PASSWORD[:6] not in err


def test_conversation_that_is_piped_in_loses_its_byte_order_mark(
    ready: Run, tmp_path: Path
) -> None:
    raw = BOM + "Hola, me llamo Íñigo\r\n\r\n¿Y tú?\r\n".encode()
    assert ready("chat", "--new", raw=raw)[0] == 0
    [log] = (tmp_path / "data" / "memory").glob("*/*.log")
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    asked = [line["content"] for line in lines if line.get("role") == "user"]
    assert asked == ["Hola, me llamo Íñigo", "¿Y tú?"]
