"""POST /chat: one turn."""

from fastapi import Request, Response

from chatbot.application.turn import Cited, Delta, Remembered, ReplyEvent, Started
from chatbot.domain import errors
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.accept_language import preferred_language
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import UseCases, session_id_of
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.chat import (
    EXAMPLE,
    ChatAnswer,
    ChatBody,
    chat_answer,
)
from chatbot.entrypoints.http.schemas.citations import CITATION
from chatbot.entrypoints.http.sse import SseEncoder
from chatbot.entrypoints.http.streaming import TurnAnswer, TurnStream

router = routing.router(tag="chat")


def _example_of_stream() -> str:
    encoder = SseEncoder()
    begin = Started(session_id=EXAMPLE.session_id, turn_id=EXAMPLE.turn_id)
    events: list[ReplyEvent] = [
        begin,
        Remembered(memory_used=EXAMPLE.memory_used),
        Delta(text="Noted, Ana: call HR."),
        Delta(text=" Managers hand in their plan before 1 March [1]"),
        Cited(citation=CITATION),
        Delta(text="."),
        EXAMPLE,
    ]
    return b"".join(map(encoder.encode, events)).decode()


_DESCRIPTION = (
    "The answer. With `Accept: text/event-stream`, the events `session`, `memory`, then `delta` and, "
    "where a mark `[n]` is complete, `citation` ..., then `done` or `error`."
)
_STREAM = {"schema": {"type": "string"}, "example": _example_of_stream()}


@router.post(
    "/chat",
    response_model=ChatAnswer,
    responses={200: {"description": _DESCRIPTION, "content": {"text/event-stream": _STREAM}}},
)
@documented(
    *(
        errors.Revoked,
        errors.Forbidden,
        errors.NotFound,
        errors.SessionBusy,
        errors.TooManySessions,
    ),
    *(errors.PromptTooLong, errors.PromptRefused, errors.ShuttingDown, errors.StorageFull),
    *(errors.ModelError, errors.ModelUnavailable, errors.ModelTimeout),
)
async def chat(body: ChatBody, request: Request, caller: Caller, use: UseCases) -> Response:
    """Ask the assistant, in a new session unless `session_id` is given."""
    session_id = session_id_of(request, body.session_id) if body.session_id is not None else None
    as_stream = "text/event-stream" in request.headers.get("accept", "")
    events = use.chat.reply(
        caller,
        session_id,
        body.prompt,
        stream=as_stream,
        language=preferred_language(request.headers),
        documents=body.choice,
    )
    if as_stream:
        return TurnStream(events, SseEncoder())
    return TurnAnswer(events, chat_answer)
