"""What is in a folder of JSON files before the changes of `killed_changes`."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

from pathlib import Path

from chatbot.domain.chat import SessionId
from chatbot.domain.identity import User, UserId
from chatbot.domain.transaction import JOURNALS, Transaction
from conversation import ANA, START, ChatApp

OPEN, TORN = "still open", '{"seq":4,"ro'
USER = User(
    id=UserId("7"),
    email="ana@example.com",
    password_hash="old hash",
    roles=("admin",),
    department="",
    created_at=START,
)


async def nothing(_: ChatApp, __: Path) -> None: ...


async def talk(app: ChatApp, _: Path) -> SessionId:
    session_id = await app.filled(1)
    await app.memory_editor.put_summary(ANA, session_id, "old summary")
    return session_id


async def titled_talk(app: ChatApp, root: Path) -> None:
    session_id = await talk(app, root)
    await app.sessions.rename(ANA, session_id, "old title")


async def open_question(app: ChatApp, root: Path) -> None:
    await app.question_left_by_a_crash(await talk(app, root), OPEN)


async def torn_write(app: ChatApp, root: Path) -> None:
    await talk(app, root)
    [log] = root.rglob("*.log")
    with log.open("ab") as file:
        file.write(TORN.encode())


async def torn_write_set_aside(app: ChatApp, root: Path) -> None:
    await torn_write(app, root)
    await app.add_turns(await only_session(app), 1)


async def deletion_that_did_not_end(app: ChatApp, root: Path) -> None:
    """The log is already renamed for deletion; nothing else has happened."""
    await torn_write_set_aside(app, root)
    [log] = root.rglob("*.log")
    log.rename(log.parent / ".work" / f"{log.stem}.deleted")


async def another_deletion_that_did_not_end(app: ChatApp, root: Path) -> None:
    await torn_write_set_aside(app, root)
    [stays] = root.rglob("*.log")
    await talk(app, root)
    [log] = set(root.rglob("*.log")) - {stays}
    log.rename(log.parent / ".work" / f"{log.stem}.deleted")


async def user(app: ChatApp, _: Path) -> None:
    await app.storage.transact(lambda tx: tx.users.add(USER))


async def torn_entry(app: ChatApp, root: Path) -> None:
    await app.storage.transact(append_entry)
    [log] = root.rglob("*.jsonl")
    with log.open("ab") as file:
        file.write(b'{"seq":2,"at')


def append_entry(tx: Transaction) -> None:
    tx.journal.append(JOURNALS[0], lambda last: {"number": last.seq + 1 if last else 1}, at=START)


async def only_session(app: ChatApp) -> SessionId:
    found = await app.storage.transact(lambda tx: tx.sessions.page(ANA.owner, limit=1))
    return found[0].id if found else SessionId("")
