"""An erased person is in no file, table, backup or log; others keep everything."""

import gzip
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from canaries import CANARY, SESSIONS, files_with, person, personal_records, plant, rows_with
from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.application import erasure as erasure_module
from chatbot.application.auditing import Auditing
from chatbot.application.erasure import Erasures
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import MessageRange, SessionId, TurnId
from chatbot.domain.erasure import Receipt, is_authentic
from chatbot.domain.errors import NotFound, SessionHeld, StorageUnavailable
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.ports.export import Unreadable
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import Hold
from chatbot.domain.transaction import KINDS, Transaction
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from conversation import START
from samples import T0

ANA, BEN = UserId("a" * 32), UserId("b" * 32)
OTHER = "other-2b90"
KEY = b"k" * 32
HOST = of_host("root")
NOTHING: dict[str, Any] = {"sessions": [], "records": [], "documents": [], "counters": {}}


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


def erasures_on(storage: Storage, clock: Clock = lambda: START) -> Erasures:
    ids = iter(f"{number:032x}" for number in range(1000))
    return Erasures(
        storage,
        Auditing(KEY, clock=lambda: START),
        key=KEY,
        clock=clock,
        new_id=lambda: next(ids),
        forget=storage.forget,
    )


def allowed(tx: Transaction) -> User:
    user = tx.users.by_id(ANA)
    if user is None:
        raise NotFound("The user does not exist.")
    return user


async def erase(storage: Storage) -> Receipt:
    return await erasures_on(storage).erase(HOST, allowed)


def left_of(user_id: UserId) -> Callable[[Transaction], dict[str, Any]]:
    """What a store has of a person."""

    def work(tx: Transaction) -> dict[str, Any]:
        owner = Owner(kind="user", id=user_id)
        return {
            "sessions": [
                tx.sessions.load(owner, each.id, lambda *_: MessageRange(limit=99))
                for each in tx.sessions.page(owner, limit=99)
            ],
            "records": [
                record
                for kind in KINDS
                for record in tx.records.page(kind)
                if kind.is_about(record, user_id)
            ],
            "documents": [
                *(each.id for each in tx.documents.uploaded_by(f"user:{user_id}")),
                *tx.blobs.names(f"documents/0{user_id[:31]}"),
                *tx.index.scopes_for([f"user:{user_id}"]),
            ],
            "counters": {
                name: total
                for name, total in tx.counters.scan("usage", "", now=T0).items()
                if user_id in name
            },
        }

    return work


async def test_person_is_erased_with_everything_and_others_keep_everything(
    storage: Storage,
) -> None:
    await storage.transact(lambda tx: plant(tx, person(ANA)))
    await storage.transact(lambda tx: plant(tx, person(BEN, OTHER), OTHER))
    before = await storage.transact(left_of(BEN))
    assert all(before.values())
    receipt = await erase(storage)
    assert await storage.transact(left_of(ANA)) == NOTHING
    assert await storage.transact(left_of(BEN)) == before
    others = {kind.name: 1 for kind, _ in personal_records(ANA, CANARY)}
    assert receipt.erased == others | {
        "users": 1,
        "sessions": SESSIONS,
        "messages": 2 * SESSIONS,
        "memories": SESSIONS,
        "documents": 1,
        "counters": 1,
    }
    with pytest.raises(NotFound):
        await erase(storage)


async def test_receipt_is_authentic_until_it_is_changed(storage: Storage) -> None:
    await storage.transact(lambda tx: plant(tx, person(ANA)))
    receipt = await erase(storage)
    assert is_authentic(receipt, [b"x" * 32, KEY])
    assert not is_authentic(receipt, [b"x" * 32])
    for changed in (
        replace(receipt, erased={**receipt.erased, "sessions": 9}),
        replace(receipt, receipt_id="0" * 31 + "9"),
        replace(receipt, at=T0),
        replace(receipt, mac="0" * 64),
    ):
        assert not is_authentic(changed, [KEY])


@pytest.mark.parametrize("name", ["json_files", "sqlite", "postgres"])
async def test_canary_of_every_kind_is_found_nowhere_afterwards(
    name: str,
    make_storage: Callable[[str], Storage],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    url = request.getfixturevalue("postgres_store") if name == "postgres" else ""

    def found() -> list[object]:
        return [*files_with(CANARY, tmp_path), *(rows_with(CANARY, url) if url else [])]

    async with make_storage(name) as storage:
        await storage.transact(lambda tx: plant(tx, person(BEN, OTHER), OTHER))
        await storage.transact(lambda tx: plant(tx, person(ANA)))
        if name == "json_files":
            leave_remains(tmp_path / "data")
        assert found()
        await erase(storage)
        assert found() == []
        entries = await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=99))
        assert {entry.content["object"]["id"] for entry in entries} == {ANA}  # type: ignore[index]
    assert found() == []
    assert CANARY not in caplog.text
    target = parse_storage_url(
        url
        or {"sqlite": f"sqlite:///{tmp_path / 'chatbot.db'}"}.get(name)
        or f"json:{tmp_path / 'data'}"
    )
    with backend_of(target).export(target) as export:
        items = [item for item in export.items() if not isinstance(item, Unreadable)]
        BackupFile(tmp_path / "later.gz").write(items, made_at=T0)
    text = gzip.decompress((tmp_path / "later.gz").read_bytes()).decode()
    assert CANARY not in text
    assert OTHER in text


def leave_remains(root: Path) -> None:
    """What killed processes and damage leave beside the files of the store."""
    [folder] = [path for path in (root / "memory").iterdir() if ANA in path.name]
    for path in (
        root / "auth" / ".work" / "users.json.0123",
        folder / ".work" / f"{ANA[:31]}0.log.torn-0123",
        folder / ".work" / f"{'7' * 32}.json.0123",
        folder / f"{'7' * 32}.fields",
        folder / f"{'7' * 32}.json",
        root / "counters" / "usage" / ".work" / "00.json.damaged-0123",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(CANARY)


async def test_session_on_hold_keeps_the_person_until_it_is_released(storage: Storage) -> None:
    await storage.transact(lambda tx: plant(tx, person(ANA)))
    before = await storage.transact(left_of(ANA))
    for hold in (Hold(reason="A court asked for it.", at=T0), None):
        await storage.transact(partial(set_hold, hold))
        if hold is not None:
            with pytest.raises(SessionHeld, match=r"on hold \(1\)"):
                await erase(storage)
            after = await storage.transact(left_of(ANA))
            assert after["records"] == before["records"]
            assert len(after["sessions"]) == SESSIONS
    receipt = await erase(storage)
    assert receipt.erased["sessions"] == SESSIONS


def set_hold(hold: Hold | None, tx: Transaction) -> None:
    owner, session_id = Owner(kind="user", id=ANA), SessionId(f"{ANA[:31]}1")
    with tx.sessions.held(owner, session_id, TurnId("t")) as lease:
        session = tx.sessions.get(owner, session_id)
        tx.sessions.update(lease, replace(session, hold=hold))


async def test_erasure_that_fails_anywhere_is_finished_by_the_next_one(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction fails once, before or after its work."""
    monkeypatch.setattr(erasure_module, "_AT_ONCE", 1)
    await storage.transact(lambda tx: plant(tx, person(ANA)))
    done, original = 0, storage.transact
    failures = 0

    async def failing(work: Callable[[Transaction], Any]) -> Any:
        nonlocal done, failures
        done += 1
        if done > failures:
            failures += 1
            raise StorageUnavailable("It fails.")
        return await original(work)

    monkeypatch.setattr(storage, "transact", failing)
    receipt = None
    while receipt is None:
        done = 0
        try:
            receipt = await erase(storage)
        except StorageUnavailable:
            assert failures < 40
    assert failures > SESSIONS
    assert receipt.erased["messages"] == 2 * SESSIONS
    done = -99
    assert await storage.transact(left_of(ANA)) == NOTHING


async def test_sweep_finishes_what_was_interrupted_and_removes_what_came_late(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.transact(lambda tx: plant(tx, person(ANA)))
    erasures = erasures_on(storage)
    with monkeypatch.context() as patch:
        patch.setattr(
            Erasures, "_finish", lambda *_: (_ for _ in ()).throw(StorageUnavailable("x"))
        )
        with pytest.raises(StorageUnavailable):
            await erasures.erase(HOST, allowed)
    assert await erasures.sweep() == 1
    assert await storage.transact(left_of(ANA)) == NOTHING
    await storage.transact(plant_late)
    assert await erasures.sweep() == 1
    assert await storage.transact(left_of(ANA)) == NOTHING


async def test_erasure_is_forgotten_a_day_after_its_end(storage: Storage) -> None:
    await storage.transact(lambda tx: plant(tx, person(ANA)))
    at, now = START, START
    await erase(storage)
    [erasure] = await storage.transact(lambda tx: tx.erasures.all())
    assert erasure.expires_at == at + erasure_module.KEPT
    erasures = erasures_on(storage, clock=lambda: now)
    events = await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=99))
    for days, left in ((0.5, 1), (1.5, 0)):
        now = at + timedelta(days=days)
        await erasures.sweep()
        assert len(await storage.transact(lambda tx: tx.erasures.all())) == left
    assert await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=99)) == events


def plant_late(tx: Transaction) -> None:
    user = person(ANA)
    plant(tx, user)
    tx.users.remove(user.id)
