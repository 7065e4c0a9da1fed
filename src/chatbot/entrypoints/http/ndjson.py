"""Responses with one JSON object per line, streamed while they are read."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chatbot.domain.audit import event_line
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.ports.journal import JournalEntry

MEDIA_TYPE = "application/x-ndjson"


def is_wanted(request: Request) -> bool:
    """Whether the caller accepts this format."""
    accepted = ",".join(request.headers.getlist("accept")).lower().split(",")
    return any(each.partition(";")[0].strip() == MEDIA_TYPE for each in accepted)


class EventStream(StreamingResponse):
    """Responds with events, a page at a time."""

    media_type = MEDIA_TYPE

    def __init__(self, pages: AsyncIterable[Sequence[JournalEntry]]) -> None:
        super().__init__(_lines(pages))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ChatbotError as error:  # after the headers: the client sees that the body is cut off
            scope["state"]["log"]["cause"] = cause_of(error)


async def _lines(pages: AsyncIterable[Sequence[JournalEntry]]) -> AsyncIterator[str]:
    async for page in pages:
        if page:
            yield "".join(f"{event_line(event)}\n" for event in page)


def documented(example: str) -> dict[str, Any]:
    """Returns the description of this format for OpenAPI."""
    return {"schema": {"type": "string"}, "example": example}
