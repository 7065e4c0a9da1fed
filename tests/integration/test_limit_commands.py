"""`chatbot limit list|set|delete` and `chatbot usage` on every persistent store."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from chatbot.domain.quotas import Period, window_of
from chatbot.domain.usage import Payer, Used, usage_additions
from chatbot.entrypoints.commands.command_line import command_settings
from chatbot.entrypoints.container.parts import build_storage
from commands import Run

EVA = "eva@example.com"


@pytest.fixture(params=["json", "sqlite", "postgres"])
def on_store(ready: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    if request.param == "sqlite":
        monkeypatch.setenv("STORAGE_URL", f"sqlite:///{request.getfixturevalue('sqlite_store')}")
    elif request.param == "postgres":
        monkeypatch.setenv("STORAGE_URL", request.getfixturevalue("postgres_store"))
    return ready


def test_limits_are_made_listed_changed_and_deleted(on_store: Run) -> None:
    assert on_store("limit", "list") == (0, "no limits\n", "")
    tokens = ("limit", "set", "monthly", "--kind", "tokens", "--per", "month", "--limit")
    assert on_store(*tokens, "500") == (0, "created: monthly\n", "")
    assert on_store(*tokens, "700") == (0, "changed: monthly\n", "")
    streams = ("limit", "set", "few", "--kind", "streams", "--limit", "2")
    assert on_store(*streams, "--subject", "client", "--name", "partner")[0] == 0
    assert on_store("limit", "list") == (
        0,
        (
            "id       applies to      limit                 model\n"
            "few      client partner  2 streams             -\n"
            "monthly  everyone        700 tokens per month  -\n"
        ),
        "",
    )
    code, out, _ = on_store("limit", "list", "--json")
    assert code == 0
    assert json.loads(out)["limits"][1] == {
        "id": "monthly",
        "subject": "everyone",
        "name": "",
        "kind": "tokens",
        "per": "month",
        "limit": 700,
        "model": None,
    }
    assert on_store("limit", "delete", "few") == (0, "deleted: few\n", "")
    assert on_store("limit", "delete", "few")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--kind", "tokens", "--limit", "5"), 1),
        (("--kind", "streams", "--limit", "5", "--per", "day"), 1),
        (("--kind", "money", "--limit", "5"), 2),
        (("--kind", "streams", "--limit", "-5"), 2),
        (("--kind", "streams", "--limit", "5", "--subject", "user", "--name", EVA), 1),
    ],
)
def test_contradictory_limit_is_rejected(ready: Run, arguments: tuple[str, ...], code: int) -> None:
    assert ready("limit", "set", "wrong", *arguments)[0] == code
    assert ready("limit", "list")[1] == "no limits\n"


async def bill(payer: Payer, used: Used) -> None:
    now = datetime.now(UTC)
    additions = usage_additions(window_of(Period.DAY, now, UTC), payer, "m", used)
    async with build_storage(command_settings()) as storage:
        await storage.transact(lambda tx: tx.counters.settle((), additions, now=now))


def test_usage_is_shown_as_a_table_and_as_json(on_store: Run) -> None:
    asyncio.run(bill(Payer(client="default", department="sales"), Used(turns=2, input_tokens=30)))
    code, out, err = on_store("usage", "--by", "department")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["department", "requests", "turns", "input_tokens", "output_tokens", "estimated"],
        ["sales", "0", "2", "30", "0", "no"],
    ]
    code, out, _ = on_store("usage", "--by", "department", "--json")
    [row] = json.loads(out)["rows"]
    assert row == {
        "key": "sales",
        "requests": 0,
        "turns": 2,
        "input_tokens": 30,
        "output_tokens": 0,
        "estimated": False,
    }
    assert on_store("usage", "--from", "2026-02-02", "--to", "2026-02-01")[0] == 1
    assert on_store("usage", "--from", "yesterday")[0] == 2
