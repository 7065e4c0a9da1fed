"""What recall adds to a turn: to its time, and to the CPU where there is nothing to recall.

In process, with a scripted model, on each store: the same turns with recall on and off, in turn. "Full" is a
person with other sessions and readable documents, "empty" one without.
"""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness import Figure, table
from search_data import MadeTexts
from stores import stores

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.application.turn import Reply
from chatbot.domain.chat import Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import DEFAULT_PRINCIPAL, random_id, utc_now
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.lifecycle import opened
from chatbot.entrypoints.settings.loading import settings_of as validated
from stored_documents import put_document

SESSIONS, MESSAGES = 100, 40
DOCUMENTS, PASSAGES = 60, 20
TARGET_MS, TARGET_CPU_MS = 6.0, 1.0
OWNER = DEFAULT_PRINCIPAL.owner


@dataclass
class Times:
    """What turns took, in milliseconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def say(tx: Transaction, said: Sequence[str]) -> None:
    """Store a session with these messages."""
    now = utc_now()
    session = Session(id=SessionId(random_id()), owner=OWNER, created_at=now, updated_at=now)
    tx.sessions.create(session)
    with tx.sessions.held(OWNER, session.id, TurnId("a" * 32)) as lease:
        for number, text in enumerate(said):
            role = MessageRole.ASSISTANT if number % 2 else MessageRole.USER
            message = Message(role=role, content=text, ts=now, turn_id=lease.turn_id)
            tx.sessions.append(lease, message)


async def fill(use: UseCases, made: MadeTexts) -> list[str]:
    """Store sessions and documents, and return questions about them."""
    questions = []
    for _ in range(SESSIONS):
        said = made.messages(MESSAGES)
        questions.append(made.question(said[MESSAGES // 2]))
        await use.storage.transact(partial(say, said=[each.text for each in said]))
    uploader = Owner(kind="user", id="1" * 32)
    for number in range(DOCUMENTS):
        passages = made.passages(PASSAGES)
        questions.append(made.question(passages[PASSAGES // 2]))
        texts = [each.text for each in passages]
        await use.storage.transact(
            partial(put_document, title=f"Document {number}", texts=texts, uploader=uploader)
        )
    return questions


async def turn(use: UseCases, question: str, times: Times, session_id: SessionId | None) -> None:
    """Ask in this session, or in a new one."""
    began, began_cpu = time.perf_counter(), time.process_time()
    events = [e async for e in use.chat.reply(DEFAULT_PRINCIPAL, session_id, question, stream=True)]
    times.wall.append(1000 * (time.perf_counter() - began))
    times.cpu.append(1000 * (time.process_time() - began_cpu))
    assert isinstance(events[-1], Reply)


async def compared(
    on: UseCases, off: UseCases, questions: Sequence[str], session_id: SessionId | None
) -> tuple[Times, Times]:
    """Ask each question with recall on and off."""
    found = Times(), Times()
    for number, question in enumerate(questions):
        pair = [(on, found[0]), (off, found[1])]
        for use, times in pair if number % 2 else reversed(pair):
            await turn(use, question, times, session_id)
    return found


async def of_store(name: str, url: str, turns: int) -> list[Figure]:
    settings = {
        "api_key": secrets.token_hex(24),
        "jwt_secret": secrets.token_hex(24),
        "storage_url": url,
        "mem_structured_enable": False,
        "mem_summarize_threshold": 0,
        "rate_limit_per_minute": 0,
    }
    without = {"memory_recall": "off", "documents_in_chat": "off"}
    found = []
    async with AsyncExitStack() as stack:
        on, off = (
            build(validated(settings | other), model=ScriptedModel(lambda _: "Of course."))
            for other in ({}, without)
        )
        for use in (on, off):
            await stack.enter_async_context(opened(use, logs_head=False))
        made = MadeTexts()
        empty = [made.text(4, 9) for _ in range(turns)]
        for case in ("empty", "full"):
            is_empty = case == "empty"
            only = await on.sessions.begin(DEFAULT_PRINCIPAL) if is_empty else None
            questions = empty if is_empty else await fill(on, made)
            await compared(on, off, questions[:20], only)  # warms up
            measured = (questions * (turns // len(questions) + 1))[:turns]
            times, base = await compared(on, off, measured, only)
            added = statistics.median(times.wall) - statistics.median(base.wall)
            cpu = statistics.median(times.cpu) - statistics.median(base.cpu)
            target = TARGET_MS if case == "full" else None
            least = TARGET_CPU_MS if case == "empty" else None
            found += [
                Figure(
                    what=f"{name}, {case}: p50 with recall off",
                    value=statistics.median(base.wall),
                    unit=" ms",
                ),
                Figure(
                    what=f"{name}, {case}: added to p50", value=added, unit=" ms", target=target
                ),
                Figure(what=f"{name}, {case}: added CPU", value=cpu, unit=" ms", target=least),
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--store", help="only this one")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as found:
        for name, url in found.items():
            if name != "memory" and options.store in {None, name}:
                figures += asyncio.run(of_store(name, url, options.turns))
    print(table(figures))


if __name__ == "__main__":
    main()
