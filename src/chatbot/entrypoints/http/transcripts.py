"""A whole conversation as a response, streamed while it is read: Markdown or JSON."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chatbot.application.transcripts import Transcript
from chatbot.domain.chat import SessionView
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.entrypoints.http import markdown
from chatbot.entrypoints.http.schemas.sessions import MessageAnswer, SessionAnswer

MARKDOWN, JSON = "text/markdown", "application/json"


class CutOffStream(StreamingResponse):
    """A stream whose connection is closed early if it cannot be completed, so that the client
    notices.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ChatbotError as error:  # after the headers
            scope["state"]["log"]["cause"] = cause_of(error)


def transcript_stream(
    transcript: Transcript, media_type: str, defaults: Mapping[str, str]
) -> CutOffStream:
    """Returns the conversation in one of the two formats."""
    if media_type == MARKDOWN:
        return CutOffStream(markdown.written(transcript), media_type=MARKDOWN)
    return CutOffStream(json_written(transcript, defaults), media_type=JSON)


async def json_written(transcript: Transcript, defaults: Mapping[str, str]) -> AsyncGenerator[str]:
    """Yield a session in the form of `GET /sessions/{id}` with all its messages."""
    view = SessionView(session=transcript.session, memory=transcript.memory, messages=())
    head = SessionAnswer.of(view, defaults).model_dump(mode="json", exclude={"messages"})
    yield f'{_dumped(head)[:-1]},"messages":['
    separator = ""
    async for page in transcript.pages:
        for message in page:
            found = MessageAnswer.model_validate(message).model_dump(mode="json")
            yield separator + _dumped(found)
            separator = ","
    yield "]}"


def _dumped(found: object) -> str:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


DOCUMENTED: dict[str, Any] = {
    "description": "The conversation: title, dates, and each message with its role and time.",
    "content": {
        MARKDOWN: {"schema": {"type": "string"}, "example": markdown.EXAMPLE},
        JSON: {"schema": {"$ref": "#/components/schemas/SessionAnswer"}},
    },
}
"""The response for the OpenAPI document."""
