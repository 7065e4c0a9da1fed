"""The command line: what it does, what it refuses, and its exit codes."""

import asyncio
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import chatbot
from chatbot import __version__
from chatbot.domain.permissions import DEFAULT_ROLES, ROLE_PERMISSIONS, Permission
from commands import Run
from provider import FakeProvider
from service import API_KEY, JWT_SECRET

PASSWORD = "violet kettle drums at noon"
MAIN = "from chatbot.entrypoints.commands.cli import main; main()"


def test_init_writes_secrets_for_the_owner_only_and_makes_the_folders(
    run: Run, tmp_path: Path
) -> None:
    code, out, err = run("init")

    written = (tmp_path / ".env").read_text(encoding="utf-8")
    secrets = re.findall(r"^(?:API_KEY|JWT_SECRET)=(\S{43})$", written, re.MULTILINE)
    assert (code, err) == (0, "")
    assert len(set(secrets)) == 2
    assert not any(secret in out for secret in secrets)
    if os.name != "nt":  # Windows has no such rights
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    roles = json.loads((tmp_path / "data" / "auth" / "roles.json").read_text(encoding="utf-8"))
    assert roles["version"] == 1
    assert roles["roles"].keys() == DEFAULT_ROLES.keys()


@pytest.mark.parametrize("name", ["{}", "{}_FILE"])
def test_init_writes_no_secret_that_the_environment_has(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def give(secret: str, value: str) -> None:
        (tmp_path / secret).write_text(value, encoding="utf-8")
        given = value if name == "{}" else str(tmp_path / secret)
        monkeypatch.setenv(name.format(secret), given)

    give("JWT_SECRET", JWT_SECRET)
    assert run("init")[0] == 0
    written = (tmp_path / ".env").read_text(encoding="utf-8")
    assert re.findall(r"^\w+(?==)", written, re.MULTILINE) == [
        "API_KEY",
        "API_KEY_PEPPER",
        "AUDIT_KEY",
    ]

    (tmp_path / ".env").unlink()
    give("API_KEY", API_KEY)
    code, out, _ = run("init")
    assert (code, (tmp_path / ".env").exists()) == (0, False)
    assert out.startswith("wrote no .env, because the environment has API_KEY and JWT_SECRET\n")


def test_init_overwrites_nothing(ready: Run, tmp_path: Path) -> None:
    roles = tmp_path / "data" / "auth" / "roles.json"
    roles.write_text('{"version": 1, "roles": {}}', encoding="utf-8")
    before = (tmp_path / ".env").read_bytes()

    assert ready("init")[0] == 0

    assert (tmp_path / ".env").read_bytes() == before
    assert roles.read_text(encoding="utf-8") == '{"version": 1, "roles": {}}'


def test_init_names_the_folder_that_cannot_hold_a_store(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STORAGE_URL", f"json:{tmp_path / 'file'}")
    code, _, err = ready("init")
    assert code == 2
    assert err.startswith(f"chatbot: STORAGE_URL: cannot create a store in {tmp_path / 'file'} (")


def test_there_is_one_first_administrator(ready: Run) -> None:
    create = ("admin", "create", "--password-stdin", "--email")

    assert ready(*create, "Ana@Example.com", text=f"{PASSWORD}\n") == (
        0,
        "admin: ana@example.com\n",
        "",
    )
    code, out, err = ready(*create, "eva@example.com", text=PASSWORD)
    assert (code, out) == (1, "")
    assert err.startswith("chatbot: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (("--email", "no-address", "--role", "employee", "--department", "x"), PASSWORD, "e-mail"),
        (("--email", "a@b.c", "--role", "boss", "--department", "x"), PASSWORD, "admin, employee"),
        (("--email", "a@b.c", "--role", "employee", "--department", "x"), "short", "15"),
    ],
)
def test_invalid_user_is_refused_with_the_reason(
    ready: Run, arguments: tuple[str, ...], password: str, said: str
) -> None:
    code, _, err = ready("user", "create", *arguments, "--password-stdin", text=password)
    assert code == 1
    assert said in err
    assert password not in err


def test_users_are_created_and_email_addresses_are_unique(ready: Run) -> None:
    create = ("user", "create", "--email", "luis@example.com", "--role", "employee")
    rest = ("--department", "sales", "--password-stdin")
    assert ready(*create, *rest, text=PASSWORD) == (0, "user: luis@example.com\n", "")
    code, _, err = ready(*create, *rest, text=PASSWORD)
    assert (code, err) == (1, "chatbot: The e-mail address is already in use.\n")


def test_writing_command_is_refused_with_memory_storage(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_URL", "memory:")
    code, _, err = ready("admin", "create", "--email", "a@b.c", "--password-stdin", text=PASSWORD)
    assert code == 1
    assert "STORAGE_URL" in err


def test_chat_continues_the_last_session_of_this_terminal(ready: Run, tmp_path: Path) -> None:
    code, out, _ = ready("chat", "Hola, me llamo Ana")
    assert code == 0
    assert "Ana" in out

    assert "Ana" in ready("chat", "¿Cómo me llamo?")[1]
    logs = tmp_path / "data" / "memory" / "client-default"
    assert len([*logs.glob("*.log")]) == 1
    assert "Ana" in ready("chat", "--new", "¿Cómo me llamo?")[1], "the person's memory goes on"
    assert len([*logs.glob("*.log")]) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sessions of processes")
def test_chats_without_a_terminal_continue_one_session(ready: Run, tmp_path: Path) -> None:
    """As cron starts them: each in its own process session."""
    for prompt in ("Hola, me llamo Ana", "Hola", "¿Cómo me llamo?"):
        ended = subprocess.run(
            [sys.executable, "-c", MAIN, "chat", prompt],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            start_new_session=True,
        )
    assert "Ana" in ended.stdout
    assert len(list((tmp_path / "data" / "memory").rglob("*.log"))) == 1
    assert (
        len([each for each in (tmp_path / "data" / "terminals").iterdir() if each.is_file()]) == 1
    )


async def test_control_characters_from_a_model_are_escaped(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        monkeypatch.setenv("GENKIT_MODEL", "openai/fake-model")
        odd = "\x1b]0;owned\x07 \x9b2J \x7f \u202e \r"
        code, out, _ = await asyncio.to_thread(ready, "chat", f"Hola {odd} fin")
        _, _, err = await asyncio.to_thread(ready, "user", "create", "--email", odd)
    assert code == 0
    assert "\\x1b]0;owned\\x07" in out
    for text in (out, err):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_commands_print_through_one_module_only() -> None:
    """Otherwise file names or model output could send control sequences to the terminal."""
    sources = Path(chatbot.__file__).parent.rglob("*.py")
    found = [
        path.name
        for path in sources
        if path.name != "command_line.py"
        and re.search(r"typer\.echo\(|\bprint\(|std(out|err)\.write\(", path.read_text("utf-8"))
    ]
    assert [name for name in found if name != "loading.py"] == [], "it names print() in an advice"


def test_chat_without_a_prompt_answers_each_line_until_the_end(ready: Run) -> None:
    code, out, _ = ready("chat", text="Hola, me llamo Ana\n\n¿Cómo me llamo?\n")
    assert code == 0
    assert out.rstrip().endswith("Ana.")


async def test_answer_that_breaks_off_is_reported_on_its_own_line_with_the_fix(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENKIT_MODEL", "openai/fault-drop")
    async with FakeProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        code, out, err = await asyncio.to_thread(ready, "chat", "Hola")
    assert code == 1
    assert out == "You said:\n"
    assert err.count("\n") == 1
    assert "chatbot doctor" in err


def test_characters_that_the_console_lacks_abort_no_command(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, "cp1252", write_through=True))

    assert ready("chat", "Me llamo Zoë. Recuérdame llamar a 你好 😀 — Íñigo.")[0] == 0
    assert ready("chat", "--help")[0] == 0

    shown = console.getvalue().decode("cp1252")
    assert "Zoë" in shown
    assert "llamar a ?? ? — Íñigo" in shown
    assert "Usage" in shown


def test_doctor_says_ok_for_each_subject_of_a_fresh_service(ready: Run) -> None:
    ready("admin", "create", "--email", "a@example.com", "--password-stdin", text=PASSWORD)
    code, out, _ = ready("doctor")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == [
        "settings:",
        "storage:",
        "people:",
        "audit:",
        "search:",
        "limits:",
        "documents:",
        "model:",
        "embeddings:",
        "proxy:",
        "tls:",
        "telemetry:",
        "files:",
    ]
    assert all(line.startswith("ok") for line in out.splitlines())
    assert "not a language model" in out


def test_doctor_names_a_damaged_session_and_a_provider_that_is_down(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("chat", "Hola")
    [log] = (tmp_path / "data" / "memory").rglob("*.log")
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")

    code, out, _ = ready("doctor")

    failed = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert code == 1
    assert any(log.name in line for line in failed)
    assert any("OPENAI_BASE_URL" in line for line in failed)


@pytest.mark.parametrize(
    "edit", [b"{", b'{"roles": {"employee": {"permissions": [], "permissions": ["chat"]}}}']
)
def test_doctor_names_the_fix_of_a_broken_manual_edit(
    ready: Run, tmp_path: Path, edit: bytes
) -> None:
    (tmp_path / "data" / "auth" / "roles.json").write_bytes(edit)
    code, out, _ = ready("doctor")
    [line] = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert code == 1
    assert "roles.json" in line
    assert line.endswith("Fix: correct it, or move it away")


CONTENTS = {"STORAGE_URL_FILE": "json:data", "LIMITS_URL_FILE": "redis://127.0.0.1:9"}


@contextmanager
def searchable(path: Path) -> Iterator[None]:
    """Let every account search the temporary folders of the tests, and undo that at the end."""
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in (path, *path.parents)}
    closed = {each: mode for each, mode in modes.items() if not mode & stat.S_IXOTH}
    for each, mode in closed.items():
        each.chmod(mode | stat.S_IXOTH)
    try:
        yield
    finally:
        for each, mode in closed.items():
            each.chmod(mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (".env", ""),
        (".genkit", ""),
        ("provider.key", "OPENAI_API_KEY_FILE"),
        ("store.url", "STORAGE_URL_FILE"),
        ("limits.url", "LIMITS_URL_FILE"),
    ],
)
def test_doctor_names_what_every_account_may_read_until_it_is_private(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, setting: str
) -> None:
    path = tmp_path / name
    if name == ".genkit":
        path.mkdir()
    elif setting:
        path.write_text(CONTENTS.get(setting, "a-key"), encoding="utf-8")
        monkeypatch.setenv(setting, str(path))
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # no server there
    path.chmod(0o755)
    with searchable(tmp_path):
        code, out, _ = ready("doctor")
        [line] = [line for line in out.splitlines() if " files: " in line]
        assert code == 1
        assert line.endswith(f"chmod go-rwx {path}")
        path.chmod(0o700)
        assert "ok    files: " in ready("doctor")[1]
        path.chmod(0o755)
        tmp_path.chmod(0o700)
        assert "ok    files: " in ready("doctor")[1], "the folder keeps other accounts out"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_doctor_names_a_link_from_a_private_folder_to_a_file_that_every_account_may_read(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, private = tmp_path / "provider.key", tmp_path / "secrets"
    target.write_text("a-key", encoding="utf-8")
    target.chmod(0o644)
    private.mkdir(0o700)
    (private / "key").symlink_to(target)
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(private / "key"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # no server there
    with searchable(tmp_path):
        assert "every account on this machine can read it" in ready("doctor")[1]


@pytest.mark.parametrize(
    "values",
    [
        {"API_KEY": "short"},
        {"PORT": "x", "WORKERS": "0"},
        {"OPENAI_BASE_URL": "ftp://x"},
        {"OPENAI_API_KEY": "two words"},
        {"STORAGE_URL": "mysql://x"},
        {"STORAGE_URL": "sqlite:///absent.db"},
        {"STORAGE_URL": "postgresql://ana:x@127.0.0.1:9/x"},
        {"STORAGE_URL": "json:.env"},
        {"GENKIT_MODEL": "nonsense"},
        {"OPENAI_API_KEY": "x", "HTTPS_PROXY": "socks5://127.0.0.1:9"},
        {"TLS_CERT_FILE": ".env", "TLS_KEY_FILE": ".env"},
        {"ASSISTANT_INSTRUCTIONS_FILE": "absent.txt"},
        {"GENKIT_ENV": "dev", "HOST": "0.0.0.0"},
    ],
    ids=" ".join,
)
def test_every_line_of_doctor_is_ok_or_names_a_fix(
    ready: Run, monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    code, out, _ = ready("doctor")
    failed = [line for line in out.splitlines() if not line.startswith("ok    ")]
    assert code == 1
    assert failed
    for line in failed:
        assert re.match(r"FAIL  [a-z]+: .*\bFix: \S", line), line
        assert line.count("Fix: ") == 1, line


def test_missing_settings_are_named_with_the_fix(run: Run) -> None:
    code, _, err = run("serve")
    assert code == 2
    assert [line.split(":")[1].strip() for line in err.splitlines()] == ["API_KEY", "JWT_SECRET"]
    assert all("no .env here" in line for line in err.splitlines())
    assert all("chatbot init" in line for line in err.splitlines())


def test_misspelt_setting_is_reported(ready: Run, tmp_path: Path) -> None:
    with (tmp_path / ".env").open("a", encoding="utf-8") as file:
        file.write("ALOWED_HOSTS=chat.example.com\n")
    code, out, _ = ready("chat", "Hola")
    assert code == 0
    message = "ALOWED_HOSTS is not a setting and has no effect: did you mean ALLOWED_HOSTS?"
    assert message in out

    code, out, _ = ready("doctor")
    assert code == 1
    assert f"FAIL  settings: .env: {message} Fix: correct" in out


@pytest.mark.parametrize("workers", ["1", "4"])
def test_taken_port_is_one_line_with_the_fix(ready: Run, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = ready("serve", "--port", port, "--workers", workers)
    assert code == 2
    assert err.count("\n") == 1
    assert "--port" in err


@pytest.mark.parametrize("workers", ["1", "4"])
def test_certificate_that_cannot_be_used_stops_the_start(
    ready: Run, tmp_path: Path, workers: str
) -> None:
    with (tmp_path / ".env").open("a", encoding="utf-8") as file:
        file.write("TLS_CERT_FILE=none.pem\nTLS_KEY_FILE=none.pem\n")
    code, out, err = ready("serve", "--port", "0", "--workers", workers)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("chatbot: TLS_CERT_FILE: ")


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("serve", "--port", "many")[0] == 2
    assert run("dance")[0] == 2
    assert run("admin", "create")[0] == 2
    code, out, err = run()
    assert (code, err) == (2, "chatbot: No command was given. (see --help)\n")
    assert out.startswith("Usage: ")


def test_help_wraps_paragraphs_and_shows_the_whole_summary_of_each_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    for group in (
        "",
        "admin",
        "user",
        "audit",
        "retention",
        "key",
        "role",
        "limit",
        "db",
        "secrets",
    ):
        assert "..." not in run(*group.split(), "--help")[1].partition("Commands:")[2], group
    paragraph = run("ingest", "--help")[1].split("\n\n")[2]
    assert all(len(line) > 60 for line in paragraph.splitlines()[:-1]), paragraph


@pytest.mark.parametrize(
    ("command", "names"), [("key create", [*Permission]), ("role set", [*ROLE_PERMISSIONS])]
)
def test_help_lists_scopes_and_permissions(run: Run, command: str, names: list[str]) -> None:
    out = run(*command.split(), "--help")[1]
    [listed] = re.findall(r"One\s+of:\s+([^\[]*)\.\s", out)
    assert sorted(re.split(r",\s+", listed)) == sorted(names)
    assert max(map(len, out.splitlines())) <= 80


def test_version_and_help_need_no_settings(run: Run) -> None:
    assert run("--version")[:2] == (0, f"chatbot {__version__}\n")
    for command in ("init", "serve", "chat", "doctor", "admin", "user"):
        code, out, _ = run(command, "--help")
        assert code == 0
        assert "Usage" in out
