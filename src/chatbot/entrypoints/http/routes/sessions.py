"""/sessions: the caller's own conversations."""

from typing import Annotated

from fastapi import Body, Depends, Request, Response

from chatbot.application.prompt_texts import language_of, notice_in
from chatbot.domain.errors import (
    Forbidden,
    SessionBusy,
    SessionHeld,
    StorageFull,
    TooManySessions,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.accept_language import preferred_language
from chatbot.entrypoints.http.cursor import read_cursor
from chatbot.entrypoints.http.deps.accept import one_of
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import (
    After,
    Before,
    Limit,
    PathSessionId,
    PathTurnId,
    TitleQuery,
    UseCases,
    WithoutFields,
)
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.explanation import ExplanationAnswer
from chatbot.entrypoints.http.schemas.sessions import (
    DeletedAnswer,
    NewSessionAnswer,
    NewSessionBody,
    SessionAnswer,
    SessionLine,
    SessionsAnswer,
    TitleBody,
)
from chatbot.entrypoints.http.transcripts import DOCUMENTED, JSON, MARKDOWN, transcript_stream

router = routing.router(tag="sessions", prefix="/sessions")


@router.post("/new", status_code=201)
@documented(Forbidden, TooManySessions, StorageFull)
async def new(
    body: Annotated[NewSessionBody, Body(default_factory=NewSessionBody)],
    request: Request,
    caller: Caller,
    use: UseCases,
) -> NewSessionAnswer:
    """Create a session."""
    session_id = await use.sessions.begin(caller, body.title)
    settings = use.settings
    preferred = settings.assistant.language or preferred_language(request.headers)
    language = language_of((), preferred=preferred)
    notice = notice_in(language, settings.assistant.notice)
    return NewSessionAnswer(session_id=session_id, notice=notice)


@router.get("")
@documented(Forbidden)
async def page(
    caller: Caller,
    use: UseCases,
    limit: Limit = 50,
    after: After = None,
    query: TitleQuery = "",
) -> SessionsAnswer:
    """List the caller's sessions, most recently used first."""
    cursor = read_cursor(after)
    found = await use.sessions.page(caller, limit=limit, after=cursor, title=query)
    return SessionsAnswer.of(found)


@router.get("/{session_id}")
@documented(Forbidden)
async def read(
    caller: Caller,
    session_id: PathSessionId,
    use: UseCases,
    limit: Limit = 50,
    before: Before = None,
) -> SessionAnswer:
    """Return a session with its memory and its newest messages."""
    opened = await use.sessions.read(caller, session_id, limit=limit, before=before)
    return SessionAnswer.of(opened, use.settings.assistant.default_preferences)


@router.patch("/{session_id}")
@documented(Forbidden, SessionBusy, StorageFull)
async def rename(
    body: TitleBody, caller: Caller, session_id: PathSessionId, use: UseCases
) -> SessionLine:
    """Set the title of a session."""
    return SessionLine.of(await use.sessions.rename(caller, session_id, body.title))


@router.get("/{session_id}/export", response_class=Response, responses={200: DOCUMENTED})
@documented(Forbidden)
async def export(
    caller: Caller,
    session_id: PathSessionId,
    use: UseCases,
    media_type: Annotated[str, Depends(one_of(MARKDOWN, JSON))],
) -> Response:
    """Export a conversation as Markdown or JSON, depending on the `Accept` header.

    The conversation is streamed. If the session is reset or deleted in the meantime, the connection is
    closed early.
    """
    transcript = await use.sessions.export(caller, session_id)
    return transcript_stream(transcript, media_type, use.settings.assistant.default_preferences)


@router.get("/{session_id}/turns/{turn_id}/explain")
@documented(Forbidden)
async def explain(
    caller: Caller, session_id: PathSessionId, turn_id: PathTurnId, use: UseCases
) -> ExplanationAnswer:
    """Explain an answer: the parts of its prompt, kept for 30 days."""
    found = await use.explanations.of(caller, session_id, turn_id)
    return ExplanationAnswer.of(session_id, found)


@router.post("/{session_id}/reset", dependencies=[WithoutFields])
@documented(Forbidden, SessionBusy, SessionHeld, StorageFull)
async def reset(caller: Caller, session_id: PathSessionId, use: UseCases) -> SessionAnswer:
    """Empty a session: messages, summary and memory."""
    opened = await use.sessions.reset(caller, session_id)
    return SessionAnswer.of(opened, use.settings.assistant.default_preferences)


@router.delete("/{session_id}")
@documented(Forbidden, SessionBusy, SessionHeld, StorageFull)
async def delete(caller: Caller, session_id: PathSessionId, use: UseCases) -> DeletedAnswer:
    """Delete a session and everything that belongs to it."""
    await use.sessions.delete(caller, session_id)
    return DeletedAnswer(session_id=session_id)
