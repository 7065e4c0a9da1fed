"""Dates, numbers and files that a store cannot represent never abort an import, move or restore."""

import gzip
import hashlib
import json
import math
import os
import socket
import sys
import tracemalloc
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatbot.adapters.storage import backup_file, backup_items
from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.legacy_sessions import LegacySessions
from chatbot.application.transfer import Outcome, StoreCopy
from chatbot.domain.chat import Message, MessageRange, Session, SessionId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.export import Conversation, ExportTarget, Item, StoreExport, Unreadable
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from commands import Run
from samples import ANA, T0, conversation, user
from service import settings_for_tests

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
DATES: list[tuple[object, datetime]] = [
    ("0001-01-01T00:00:00", FIRST),
    ("0001-01-01T00:00:00+14:00", FIRST),
    ("1600-02-29T12:00:00.000001Z", datetime(1600, 2, 29, 12, 0, 0, 1, tzinfo=UTC)),
    ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("2500-01-01T01:30:00+01:30", datetime(2500, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999-12:00", LAST),
    (-62135596800, FIRST),
    (253402300799.5, datetime(9999, 12, 31, 23, 59, 59, 500000, tzinfo=UTC)),
]


@pytest.fixture(params=["json", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "json":
            return f"json:{tmp_path / 'data'}"
        case "sqlite":
            return f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case _:
            address: str = request.getfixturevalue("postgres_store")
            return address


def export(url: str) -> ExportTarget:
    parsed = parse_storage_url(url)
    return backend_of(parsed).export(parsed)


def outcomes(source: StoreExport, target: ExportTarget) -> list[Outcome]:
    with target:
        return [step.outcome for step in StoreCopy(source, target).steps()]


class Shelf(StoreExport):
    """Items to move, without a store."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def items(self) -> Generator[Item | Unreadable]:
        yield from self._items

    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        return set()


async def test_sessions_of_any_date_are_imported_once_and_found_again(
    url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "mvp"
    folder.mkdir()
    for number, (ts, _) in enumerate(DATES):
        said = {"messages": [{"role": "user", "content": f"{number}", "ts": ts}]}
        (folder / f"session_{number:032x}.json").write_text(json.dumps(said), encoding="utf-8")
    source = LegacySessions(folder, ANA)
    assert outcomes(source, export(url)) == [Outcome.NEW] * len(DATES)
    assert outcomes(source, export(url)) == [Outcome.SAME] * len(DATES)

    def read(tx: Transaction) -> list[tuple[Session, Message]]:
        pages = tx.sessions.page(ANA, limit=50)
        return [(each, tx.sessions.read(ANA, each.id, MessageRange(limit=1))[0]) for each in pages]

    async with build_storage(settings_for_tests(storage_url=url)) as storage:
        found = await storage.transact(read)
    moments = {message.content: message.ts for _, message in found}
    assert moments == {f"{number}": moment for number, (_, moment) in enumerate(DATES)}
    order = [session.updated_at for session, _ in found]
    assert order == sorted(order, reverse=True)


def test_owner_whose_id_is_too_long_for_a_folder_is_named_and_the_rest_is_moved(
    url: str,
) -> None:
    one = conversation(1)
    owner = Owner(kind="user", id="\u00e9" * 64)
    bad = replace(one, session=replace(one.session, owner=owner))
    found = outcomes(Shelf([bad, conversation(2)]), export(url))
    first = Outcome.REFUSED if url.startswith("json:") else Outcome.NEW
    assert found == [first, Outcome.NEW]


@pytest.mark.parametrize(
    "odd",
    [
        {"last_seq": 10**15 + 1},
        {"last_seq": 2**63 - 1},
        {"epoch": 2**31 - 1},
        {"epoch": 2**63 - 1},
    ],
)
def test_session_whose_numbers_are_exhausted_is_named_and_the_rest_is_moved(
    url: str, odd: dict[str, int]
) -> None:
    one = conversation(1)
    session = replace(one.session, **odd)  # type: ignore[arg-type] # they are numbers
    messages = tuple(
        replace(each, seq=session.last_seq - 1 + n) for n, each in enumerate(one.messages)
    )
    bad = Conversation(session=session, messages=messages, memory=one.memory)
    assert bad.is_complete()
    assert outcomes(Shelf([bad, conversation(2)]), export(url)) == [Outcome.REFUSED, Outcome.NEW]


def test_counting_messages_costs_the_actual_and_not_the_claimed_number() -> None:
    claimed = replace(conversation(), session=replace(conversation().session, message_count=2**31))
    assert not claimed.is_complete()


def packed(path: Path, *lines: object) -> None:
    """A backup with a valid checksum over any content."""
    header = {"format": "chatbot backup", "version": 1, "made_at": "2026-01-01T00:00:00Z"}
    body = b"".join(json.dumps(line).encode() + b"\n" for line in (header, *lines))
    seal = {"sealed": {"items": len(lines), "sha256": hashlib.sha256(body).hexdigest()}}
    tail = json.dumps(seal, separators=(",", ":")).encode() + b"\n"
    path.write_bytes(gzip.compress(body + tail))


def good_lines() -> list[object]:
    items: list[Item] = [user(1), conversation(1), conversation(2)]
    return [backup_items.item_to_json(item) for item in items]


@pytest.mark.parametrize(
    "bad",
    [
        {
            "user": {
                "id": "x",
                "email": "x@example.com",
                "password_hash": "x",
                "token_version": 2**40,
            }
        },
        {"user": {"id": "x", "email": "no address", "password_hash": "x"}},
        {"session": {}, "messages": [], "memory": {}},
        {"roles": []},
        {"entry": {"journal": "/tmp/outside", "seq": 1, "at": "2026-01-01", "content": {}}},
        {"entry": {"journal": "../outside", "seq": 1, "at": "2026-01-01", "content": {}}},
        {"entry": {"journal": "audit", "seq": 1, "at": "2026-01-01", "content": {"x": math.nan}}},
        {
            "session": {
                "id": "f" * 32,
                "owner": {"kind": "client", "id": "default"},
                "created_at": "2026-01-01",
                "updated_at": "2026-01-01",
                "message_count": 1,
            },
            "messages": [
                {"role": "user", "content": "", "ts": "2026-01-01", "turn_id": ""},
            ],
            "memory": {},
        },
        {},
        [],
    ],
)
def test_unstorable_item_of_a_backup_is_named_and_the_rest_is_restored(
    ready: Run, tmp_path: Path, bad: object
) -> None:
    first, *rest = good_lines()
    packed(tmp_path / "b.gz", first, bad, *rest)
    code, out, err = ready("restore", "b.gz")
    assert code == 1
    assert "item 2: unreadable: " in err
    assert "2 sessions" in out
    assert ready("restore", "b.gz", "--dry-run")[0] == 1
    code, out, _ = ready("user", "list")
    assert user(1).email in out


def test_item_that_is_too_large_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_file, "MAX_LINE_BYTES", 8 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\0" * (300 << 20), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(Damaged, match="larger than 8 MiB"):
        BackupFile(path).verify()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize("more", [gzip.compress(b"more\n"), b"\0", b"x" * 5_000_000])
def test_trailing_data_after_a_backup_is_refused_unread(tmp_path: Path, more: bytes) -> None:
    path = tmp_path / "b.gz"
    BackupFile(path).write([conversation()], made_at=T0)
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(Damaged, match="not a valid backup"):
        BackupFile(path).verify()


def test_long_items_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "b.gz"
    items = [conversation(1, texts=["ñ" * 3_000_000, "x"]), conversation(2)]
    BackupFile(path).write(items, made_at=T0)
    assert list(BackupFile(path).items()) == items


def test_import_reports_irregular_files_and_imports_the_rest(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such files")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mvp"
    folder.mkdir()

    def name(number: int) -> str:
        return f"mvp/session_{number:032x}.json"

    said = {"messages": [{"role": "user", "content": "Hi", "ts": "2026-01-01T00:00:00Z"}]}
    for number in (1, 9):
        (tmp_path / name(number)).write_text(json.dumps(said), encoding="utf-8")
    os.mkfifo(name(2))
    (tmp_path / name(3)).symlink_to(name(3).removeprefix("mvp/"))
    (tmp_path / name(4)).symlink_to("/dev/zero")
    (tmp_path / name(5)).mkdir()
    (tmp_path / name(6)).symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name(7))
        (tmp_path / name(8)).symlink_to(name(1).removeprefix("mvp/"))
        code, out, err = ready("import", "mvp")
    assert code == 1
    assert "3 sessions" in out
    assert [line.count("unreadable") for line in err.splitlines()] == [1] * 6


def test_import_reads_no_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / f"session_{1:032x}.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole
    [found] = LegacySessions(tmp_path, ANA).items()
    assert isinstance(found, Unreadable)
    assert "larger than" in found.reason
