"""`chatbot chat`: a conversation in the terminal, in process, as the client `default`."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, aclosing

from chatbot.application.prompt_texts import LANGUAGES, Language, language_of, texts_in
from chatbot.application.turn import Delta, Reply
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import NotFound
from chatbot.domain.text import decode_utf8
from chatbot.entrypoints.commands.command_line import say, write
from chatbot.entrypoints.container.parts import DEFAULT_PRINCIPAL, build_terminal_sessions
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.lifecycle import opened
from chatbot.entrypoints.model_selection import with_model_name
from chatbot.entrypoints.settings import Settings

_END_OF_INPUT = "Ctrl-Z, Enter" if os.name == "nt" else "Ctrl-D"
_EXIT_WORDS = frozenset({"exit", "quit", "salir"})
_GREETINGS: Mapping[Language, str] = {
    "es": "{name}. Escribe y pulsa Intro; para salir, pulsa {end} o escribe `salir`.",
    "en": "{name}. Type and press Enter; to leave, press {end} or type `exit`.",
}
_CONTINUING: Mapping[Language, str] = {
    "es": "Continuamos la última conversación; `chatbot chat --new` empieza otra.",
    "en": "Continuing your last conversation; `chatbot chat --new` starts a new one.",
}


def run_chat(settings: Settings, prompt: str | None, *, new: bool) -> None:
    """Answer one prompt, or each line until the input ends or the user types `exit`."""
    use = build(with_model_name(settings))
    sessions = build_terminal_sessions(settings)
    session_id = sessions.last() if sessions and not new else None
    if prompt is None and sys.stdin.isatty():
        _print_greeting(settings, continues=session_id is not None)
    # between two turns, Ctrl-C has Python's default behaviour
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        runner.run(stack.enter_async_context(opened(use, logs_head=False)))
        try:
            for text in [prompt] if prompt is not None else _lines():
                session_id = runner.run(_turn(use, session_id, text))
                if sessions:
                    sessions.save(session_id)
        finally:
            runner.run(stack.aclose())


async def _turn(use: UseCases, session_id: SessionId | None, text: str) -> SessionId:
    """Run one turn and update the memory; a session deleted in the meantime is started anew."""
    try:
        session_id = await _answer(use, session_id, text)
    except NotFound:
        session_id = await _answer(use, None, text)
    await use.consolidation.wait_for(DEFAULT_PRINCIPAL.owner, session_id)
    await use.embeddings.settle()
    return session_id


async def _answer(use: UseCases, session_id: SessionId | None, text: str) -> SessionId:
    events = use.chat.reply(DEFAULT_PRINCIPAL, session_id, text, stream=True)
    after, began = "", False
    async with aclosing(events):
        try:
            async for event in events:
                if isinstance(event, Delta):
                    write(event.text)
                    began = True
                elif isinstance(event, Reply):
                    after = _sources(event) + (f"\n({event.notice})" if event.notice else "")
                    return event.session_id
        finally:  # the next output, or an error, starts on a new line
            write(f"{after}\n" if began or after else "")
    raise AssertionError("A turn ends with its reply or raises.")


def _sources(reply: Reply) -> str:
    """The cited passages, one on a line, under the answer: `[1] Holidays 2026: Managers`."""
    return "".join(
        f"\n[{each.n}] {' '.join(f'{each.title}: {each.heading}'.split()).removesuffix(':')}"
        for each in reply.citations
    )


def _lines() -> Iterator[str]:
    """Yields the non-empty lines that are typed or piped in, until the end of the input."""
    for line in _typed() if sys.stdin.isatty() else map(decode_utf8, sys.stdin.buffer):
        if line.strip():
            yield line.rstrip("\r\n")


def _typed() -> Iterator[str]:
    try:
        while (line := input("> ")).strip().lower() not in _EXIT_WORDS:
            yield line
    except (EOFError, KeyboardInterrupt):
        write("\n")  # what the terminal prints next starts on a new line


def _print_greeting(settings: Settings, *, continues: bool) -> None:
    """Print the assistant's name and how to leave, in the language of settings or terminal."""
    language = language_of((), preferred=settings.assistant.language or _language_of_terminal())
    name = settings.assistant.name or texts_in(language).name
    say(_GREETINGS[language].format(name=name, end=_END_OF_INPUT))
    if continues:
        say(_CONTINUING[language])


def _language_of_terminal() -> Language | None:
    """The language of the locale's messages (POSIX, 8.2), if it is a built-in one."""
    given = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    code = next(filter(None, given), "")[:2].lower()
    return next((language for language in LANGUAGES if language == code), None)
