"""POST /chat: one turn."""

from typing import Any

from fastapi import Request, Response

from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.accept_language import preferred_language
from chatbot.entrypoints.http.deps import Caller, UseCases, session_id_of
from chatbot.entrypoints.http.examples import stream
from chatbot.entrypoints.http.sse import SseEncoder
from chatbot.entrypoints.http.streaming import TurnAnswer, TurnStream
from chatbot.entrypoints.http.wire import ChatAnswer, ChatBody, chat_answer

router = routing.router(tag="chat")

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer. With `Accept: text/event-stream`, the events `session`, `delta`..., "
        "then `done` or `error`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": stream()}},
    }
}


@router.post("/chat", response_model=ChatAnswer, responses=_RESPONSES)
async def chat(body: ChatBody, request: Request, caller: Caller, use: UseCases) -> Response:
    """Ask the assistant; without `session_id` in a new session."""
    session_id = session_id_of(request, body.session_id) if body.session_id is not None else None
    as_stream = "text/event-stream" in request.headers.get("accept", "")
    language = preferred_language(request.headers)
    events = use.chat.reply(caller, session_id, body.prompt, stream=as_stream, language=language)
    if as_stream:
        return TurnStream(events, SseEncoder())
    return TurnAnswer(events, chat_answer)
