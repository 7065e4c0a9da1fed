"""Expired conversations are deleted, on every store; others and those on hold are not."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from canaries import files_with
from chatbot.application.auditing import Auditing
from chatbot.application.retention import Retention, Swept
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import Message, MessageRange, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.retention import RetentionRule
from chatbot.domain.session_fields import Hold
from chatbot.domain.transaction import Transaction
from samples import CLIENT, T0, user

ANA = Owner(kind="user", id=user(1).id)
HOST = of_host("root")
DAY = timedelta(days=1)
NOW = T0 + 100 * DAY


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


def add(
    owner: Owner, number: int, *days_ago: float, hold: Hold | None = None
) -> Callable[[Transaction], SessionId]:
    """A session with a turn so many days ago each."""

    def work(tx: Transaction) -> SessionId:
        session_id = SessionId(f"{number:032x}")
        at = NOW - days_ago[0] * DAY
        tx.sessions.create(Session(id=session_id, owner=owner, created_at=at, updated_at=at))
        with tx.sessions.held(owner, session_id, TurnId("t")) as lease:
            for days in days_ago:
                for role in MessageRole:
                    text = f"said {days} days ago"
                    said = Message(
                        role=role, content=text, ts=NOW - days * DAY, turn_id=TurnId("t")
                    )
                    tx.sessions.append(lease, said)
            if hold is not None:
                session = tx.sessions.get(owner, session_id)
                tx.sessions.update(lease, replace(session, hold=hold))
        return session_id

    return work


def retention_on(
    storage: Storage,
    *,
    sessions: int = 0,
    messages: int = 0,
    rules: list[RetentionRule] | None = None,
    now: Callable[[], datetime] = lambda: NOW,
) -> Retention:
    ids = iter(f"{number:032x}" for number in range(10**6))
    return Retention(
        storage,
        Auditing(b"k" * 32, clock=now),
        sessions_days=sessions,
        messages_days=messages,
        rules=lambda _: rules or [],
        clock=now,
        new_id=lambda: next(ids),
    )


async def run(retention: Retention) -> Swept | None:
    return await retention.run(HOST, is_asked_for=True, trusts_clock=True)


def left_of(owner: Owner) -> Callable[[Transaction], dict[SessionId, int]]:
    return lambda tx: {each.id: each.message_count for each in tx.sessions.page(owner, limit=999)}


async def test_sessions_expire_by_their_last_message_unless_they_are_on_hold(
    storage: Storage,
) -> None:
    hold = Hold(reason="A court asked for it.", at=T0)
    old, recent, kept, of_client = [
        await storage.transact(work)
        for work in (
            add(ANA, 1, 60, 31),
            add(ANA, 2, 60, 29),
            add(ANA, 3, 60, hold=hold),
            add(CLIENT, 4, 90),
        )
    ]
    assert await run(retention_on(storage)) == Swept()
    dry = await retention_on(storage, sessions=30).run(HOST, is_dry=True)
    assert set(await storage.transact(left_of(ANA))) == {old, recent, kept}
    swept = await run(retention_on(storage, sessions=30))
    assert swept == dry == Swept(sessions=2, messages=6, held=1)
    assert set(await storage.transact(left_of(ANA))) == {recent, kept}
    assert of_client not in await storage.transact(left_of(CLIENT))


async def test_many_sessions_expire_page_by_page(storage: Storage) -> None:
    hold = Hold(reason="A court asked for it.", at=T0)
    for number in range(45):
        await storage.transact(add(ANA, number, 40, hold=hold if number % 9 == 0 else None))
    swept = await run(retention_on(storage, sessions=30))
    assert swept == Swept(sessions=40, messages=80, held=5)
    assert len(await storage.transact(left_of(ANA))) == 5


async def test_messages_expire_in_whole_turns_and_the_session_stays(storage: Storage) -> None:
    session_id = await storage.transact(add(ANA, 1, 60, 40, 20, 10))
    untouched = await storage.transact(add(ANA, 2, 20))
    dry = await retention_on(storage, messages=30).run(HOST, is_dry=True)
    swept = await run(retention_on(storage, messages=30))
    assert swept == dry == Swept(messages=4)
    assert await storage.transact(left_of(ANA)) == {session_id: 4, untouched: 2}
    found = await storage.transact(
        lambda tx: tx.sessions.load(ANA, session_id, lambda *_: MessageRange(limit=9))
    )
    assert [message.seq for message in found.messages] == [5, 6, 7, 8]
    assert found.session.title == "said 20 days ago"
    assert await run(retention_on(storage, messages=30)) == Swept()


async def test_rule_of_a_role_precedes_the_setting(storage: Storage) -> None:
    await storage.transact(lambda tx: tx.users.add(user(1, roles=("temp",))))
    await storage.transact(lambda tx: tx.users.add(user(2, roles=("auditor",))))
    other = Owner(kind="user", id=user(2).id)
    await storage.transact(add(ANA, 1, 20))
    await storage.transact(add(other, 2, 90))
    rules = [RetentionRule(role="temp", days=10), RetentionRule(role="auditor", days=0)]
    swept = await run(retention_on(storage, sessions=30, rules=rules))
    assert swept == Swept(sessions=1, messages=2)
    assert len(await storage.transact(left_of(other))) == 1


async def test_of_many_processes_one_does_it_each_hour(storage: Storage) -> None:
    at = NOW
    processes = [retention_on(storage, sessions=30, now=lambda: at) for _ in range(3)]
    first = [await each.run(HOST) for each in processes]
    assert [each is not None for each in first] == [True, False, False]
    at += timedelta(minutes=59)
    assert [await each.run(HOST) for each in processes] == [None] * 3
    at += timedelta(minutes=1)
    again = [await each.run(HOST) for each in processes]
    assert sum(each is not None for each in again) == 1


async def test_clock_that_jumps_deletes_nothing_for_a_day(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    at = NOW - 10 * DAY
    retention = retention_on(storage, sessions=365, now=lambda: at)
    session_id = await storage.transact(add(ANA, 1, 20))
    for _ in range(30):
        at += timedelta(hours=1)
        await retention.run(HOST)
    assert caplog.text == "", "nothing has expired"
    assert list(await storage.transact(left_of(ANA))) == [session_id]
    at += 3650 * DAY
    for _ in range(23):
        swept = await retention.run(HOST)
        assert swept is not None
        assert swept.doubted_since is not None
        at += timedelta(hours=1)
    assert list(await storage.transact(left_of(ANA))) == [session_id]
    assert "(sessions 1, messages 2, on hold 0) were not deleted" in caplog.text
    assert "the clock may have jumped" in caplog.text
    at += timedelta(hours=2)
    assert await retention.run(HOST) == Swept(sessions=1, messages=2)


async def test_run_is_recorded_with_its_counts(storage: Storage) -> None:
    await storage.transact(add(ANA, 1, 60))
    await run(retention_on(storage, sessions=30))
    entries = await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9))
    events = [
        (each.content["action"], each.content.get("stage"), each.content.get("reason"))
        for each in entries
    ]
    assert events == [
        ("retention.run", "intent", None),
        ("retention.run", "done", "sessions 1, messages 2, on hold 0"),
    ]


async def test_session_that_is_used_meanwhile_is_not_deleted(storage: Storage) -> None:
    session_id = await storage.transact(add(ANA, 1, 60))
    retention = retention_on(storage, sessions=30)
    stale = await storage.transact(lambda tx: tx.sessions.get(ANA, session_id))

    def speak(tx: Transaction) -> None:
        with tx.sessions.held(ANA, session_id, TurnId("t")) as lease:
            said = Message(role=MessageRole.USER, content="Back", ts=NOW, turn_id=TurnId("t"))
            tx.sessions.append(lease, said)

    await storage.transact(speak)
    assert not await storage.transact(lambda tx: retention._deleted(tx, stale))
    assert await storage.transact(left_of(ANA)) == {session_id: 3}
    lease = await storage.transact(lambda tx: tx.sessions.acquire(ANA, session_id, TurnId("u")))
    busy = await storage.transact(lambda tx: tx.sessions.get(ANA, session_id))
    assert not await storage.transact(lambda tx: retention._deleted(tx, busy))
    await storage.transact(lambda tx: tx.sessions.release(lease))
    assert await storage.transact(lambda tx: retention._deleted(tx, busy))
    assert not await storage.transact(lambda tx: retention._deleted(tx, busy))


@pytest.mark.parametrize("name", ["json_files", "sqlite"])
async def test_expired_text_is_in_no_file(
    name: str, make_storage: Callable[[str], Storage], tmp_path: Path
) -> None:
    async with make_storage(name) as storage:
        await storage.transact(add(ANA, 1, 60, 20))
        await storage.transact(add(ANA, 2, 50))
        assert files_with("said 60", tmp_path)
        await run(retention_on(storage, sessions=40, messages=30))
        assert files_with("said 60", tmp_path) == files_with("said 50", tmp_path) == []
        assert files_with("said 20", tmp_path)
