"""`chatbot key create|list|rotate|revoke` on every persistent store."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from chatbot.domain.audit import AUDIT
from chatbot.domain.credentials import key_id_of
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.settings.loading import load_settings
from commands import Run

CREATE = ("key", "create", "--client", "intranet", "--scope", "chat", "--scope", "memory")


@pytest.fixture(params=["json", "sqlite", "postgres"])
def stored(ready: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    if request.param == "sqlite":
        monkeypatch.setenv("STORAGE_URL", f"sqlite:///{request.getfixturevalue('sqlite_store')}")
    elif request.param == "postgres":
        monkeypatch.setenv("STORAGE_URL", request.getfixturevalue("postgres_store"))
    return ready


def made(run: Run, *command: str) -> str:
    code, out, err = run(*command)
    assert (code, err) == (0, "The key is shown only this once: store it now.\n")
    raw_key = out.removeprefix("key: ").removesuffix("\n")
    assert key_id_of(raw_key) is not None
    return raw_key


def listed(run: Run) -> list[dict[str, Any]]:
    code, out, err = run("key", "list", "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)["keys"]
    return found


def test_key_is_made_listed_rotated_and_revoked(stored: Run) -> None:
    raw_key = made(stored, *CREATE, "--label", "Widget", "--expires-in-days", "30")
    [key] = listed(stored)
    key_id = key["id"]
    assert key["created_by"].startswith("cli:")
    assert {name: key[name] for name in ("client", "scopes", "label", "state", "last_used_on")} == {
        "client": "intranet",
        "scopes": ["chat", "memory"],
        "label": "Widget",
        "state": "active",
        "last_used_on": None,
    }
    end = f"{key['expires_at'][:16]}Z"
    header = "id        client    state   expires            last used  scopes       label"
    assert stored("key", "list") == (
        0,
        f"{header}\n{key_id}  intranet  active  {end}  -          chat,memory  Widget\n",
        "",
    )
    new_key = made(stored, "key", "rotate", key_id, "--overlap-hours", "1")
    assert {key["state"] for key in listed(stored)} == {"active", "expiring"}
    assert stored("key", "revoke", key_id) == (0, f"revoked: {key_id} of intranet\n", "")
    assert {key["id"]: key["state"] for key in listed(stored)} == {
        key_id: "revoked",
        key_id_of(new_key): "active",
    }
    assert raw_key not in stored("key", "list", "--json")[1]


def test_new_key_is_printed_as_json_on_request(ready: Run) -> None:
    code, out, err = ready(*CREATE, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert key_id_of(found.pop("key")) == found["id"]
    assert listed(ready) == [found]


async def test_changes_are_recorded_with_the_account_of_the_host(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    made_by = run_in_thread(ready)
    async with build_storage(load_settings()) as storage:
        entries = await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9))
    actors = [entry.content["actor"] for entry in entries]
    assert actors == [{"client": "host", "cli_user": made_by}] * 2


def run_in_thread(run: Run) -> str:
    """Make a key outside of the running event loop; return the account that the list names."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor() as pool:
        pool.submit(made, run, *CREATE).result()
        [key] = pool.submit(listed, run).result()
    account = str(key["created_by"]).removeprefix("cli:")
    assert account != "somebody-else"
    return account


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("key", "create", "--client", "default", "--scope", "chat"), "reserved"),
        (("key", "create", "--client", "Ñ", "--scope", "chat"), "lower-case"),
        (("key", "create", "--client", "a", "--scope", "chat", "--label", "\x1b[2J"), "printable"),
        (("key", "rotate", "22222222"), "does not exist"),
        (("key", "revoke", "x"), "does not exist"),
    ],
)
def test_refused_command_prints_the_reason(
    ready: Run, command: tuple[str, ...], message: str
) -> None:
    code, out, err = ready(*command)
    assert (code, out) == (1, "")
    assert err.startswith("chatbot: ")
    assert message in err


@pytest.mark.parametrize(
    "command",
    [
        ("key", "create", "--client", "a"),
        ("key", "create", "--client", "a", "--scope", "administer"),
        ("key", "rotate", "22222222", "--overlap-hours", "169"),
    ],
)
def test_wrong_usage_is_refused(ready: Run, command: tuple[str, ...]) -> None:
    code, out, _ = ready(*command)
    assert (code, out) == (2, "")


def test_empty_store_names_the_command_that_makes_a_key(ready: Run) -> None:
    assert "chatbot key create" in ready("key", "list")[1]
    assert listed(ready) == []


def test_commands_are_refused_with_memory_storage(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_URL", "memory:")
    for command in (CREATE, ("key", "list"), ("key", "rotate", "x"), ("key", "revoke", "x")):
        code, _, err = ready(*command)
        assert code == 1
        assert err.startswith("chatbot: ")


def test_commands_of_the_administration_page_work_as_written(ready: Run) -> None:
    page = (Path(__file__).parents[2] / "docs" / "administration.md").read_text(encoding="utf-8")
    section = page.partition("\n## API keys\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 6
    for line in lines:
        name, *words = shlex.split(line.partition(" | ")[0])
        assert name == "chatbot"
        [key_id] = [key["id"] for key in listed(ready)[:1]] or [""]
        code, out, err = ready(*(key_id if word == "k7m2x9qd" else word for word in words))
        assert code == 0, line
        assert all("is shown only this once" in note for note in err.splitlines()), line
        assert out
