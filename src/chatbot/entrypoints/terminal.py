"""`chatbot chat`: a conversation in the terminal, in process, as the client `default`."""

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path

from chatbot.adapters.runtime import name_of_this_terminal
from chatbot.adapters.storage.json_files.durable import make_durable_folder, put
from chatbot.adapters.storage.json_files.files import Files
from chatbot.application.turn import Delta, Reply
from chatbot.domain.chat import SessionId, is_session_id
from chatbot.domain.errors import NotFound
from chatbot.domain.text import decode_utf8
from chatbot.entrypoints.console import write
from chatbot.entrypoints.container import (
    DEFAULT_PRINCIPAL,
    Container,
    build_container,
    opened,
)
from chatbot.entrypoints.model_choice import with_model_name
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.storage_url import StorageKind


def talk(settings: Settings, prompt: str | None, *, new: bool) -> None:
    """Answer one prompt, or each line until the input ends."""
    container = build_container(with_model_name(settings))
    note = _note_of_this_terminal(settings)
    session_id = None if new else _noted(note)
    with asyncio.Runner() as runner:  # between two turns Ctrl-C is Python's own again
        stack = AsyncExitStack()
        runner.run(stack.enter_async_context(opened(container)))
        try:
            for text in [prompt] if prompt is not None else _lines():
                session_id = runner.run(_turn(container, session_id, text))
                _note_down(note, session_id)
        finally:
            runner.run(stack.aclose())


async def _turn(container: Container, session_id: SessionId | None, text: str) -> SessionId:
    """One turn and the memory it makes; a session deleted meanwhile is begun anew."""
    try:
        session_id = await _answer(container, session_id, text)
    except NotFound:
        session_id = await _answer(container, None, text)
    await container.consolidation().settled(session_id)
    return session_id


async def _answer(container: Container, session_id: SessionId | None, text: str) -> SessionId:
    events = container.chat().reply(DEFAULT_PRINCIPAL, session_id, text, stream=True)
    notice, began = "", False
    async with aclosing(events):
        try:
            async for event in events:
                if isinstance(event, Delta):
                    write(event.text)
                    began = True
                elif isinstance(event, Reply):
                    notice = f"\n({event.notice})" if event.notice else ""
                    return event.session_id
        finally:  # what is told next, an error too, begins a line
            write(f"{notice}\n" if began or notice else "")
    raise AssertionError("A turn ends with its reply or raises.")


def _lines() -> Iterator[str]:
    """The lines that are typed or piped in, without empty ones, until the end of the input."""
    for line in _typed() if sys.stdin.isatty() else map(decode_utf8, sys.stdin.buffer):
        if line.strip():
            yield line.rstrip("\r\n")


def _typed() -> Iterator[str]:
    with suppress(EOFError):
        while True:
            yield input("> ")


def _note_of_this_terminal(settings: Settings) -> Path | None:
    """The file that keeps this terminal's last session; none where nothing lasts."""
    if settings.storage_url.kind is StorageKind.MEMORY:
        return None
    name = hashlib.sha256(name_of_this_terminal().encode()).hexdigest()[:16]
    return settings.storage_url.local_folder / "terminals" / name


def _noted(note: Path | None) -> SessionId | None:
    if note is None or not note.exists():
        return None
    raw = note.read_bytes().decode("ascii", "replace").strip()
    return SessionId(raw) if is_session_id(raw) else None


def _note_down(note: Path | None, session_id: SessionId) -> None:
    if note is not None:
        files = Files()
        make_durable_folder(files, note.parent)
        put(files, note, session_id.encode())
