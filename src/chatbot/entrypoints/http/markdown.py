"""A whole conversation as a Markdown document, streamed while it is read.

Each message is a block quote, so an unclosed code block of an interrupted answer ends with it, and
its headings are not headings of the document.
"""

import re
from collections.abc import AsyncGenerator
from datetime import datetime

from chatbot.application.transcripts import Transcript
from chatbot.domain.answer_details import Citation
from chatbot.domain.chat import InterruptReason, Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    PROMPT,
    SESSION_ID,
    TEXT,
    TURN_ID,
    UPDATED_AT,
)

_LINE_END = re.compile("\r\n|\r|\n")
_MARKUP = re.compile(r"[!#&*<>\[\\\]_`|~]")
_ESCAPED = r"\\\g<0>"


async def written(transcript: Transcript) -> AsyncGenerator[str]:
    """Yield the document, a page of messages at a time."""
    yield _head(transcript.session)
    async for page in transcript.pages:
        yield "".join(map(_section, page))


def _head(session: Session) -> str:
    title = _MARKUP.sub(_ESCAPED, " ".join(session.title.split())) or "Conversation"
    dates = {"Created": session.created_at, "Updated": session.updated_at}
    lines = (f"- {name}: {rfc3339(moment)}\n" for name, moment in dates.items())
    return f"# {title}\n\n{''.join(lines)}"


def _section(message: Message) -> str:
    mark = f" (interrupted: {message.reason})" if message.reason else ""
    heading = f"\n## {message.role.capitalize()}, {rfc3339(message.ts)}{mark}\n"
    if not message.content:
        return heading
    lines = (f"> {line}\n" if line else ">\n" for line in _LINE_END.split(message.content))
    cited = "".join(["\n", *map(_source, message.citations)]) if message.citations else ""
    return f"{heading}\n{''.join(lines)}{cited}"


def _source(citation: Citation) -> str:
    """Return the line of a citation: its number, title and heading."""
    named = ": ".join(filter(None, (citation.title, citation.heading)))
    return f"- \\[{citation.n}\\] {_MARKUP.sub(_ESCAPED, ' '.join(named.split()))}\n"


def _example() -> str:
    asked, answered = map(datetime.fromisoformat, (CREATED_AT, UPDATED_AT))
    session = Session(
        id=SessionId(SESSION_ID),
        owner=Owner(kind="client", id="default"),
        title=PROMPT,
        created_at=asked,
        updated_at=answered,
    )
    turn_id = TurnId(TURN_ID)
    question = Message(role=MessageRole.USER, content=PROMPT, ts=asked, turn_id=turn_id)
    answer = Message(
        role=MessageRole.ASSISTANT,
        content=TEXT,
        ts=answered,
        turn_id=turn_id,
        reason=InterruptReason.CLIENT,
    )
    return _head(session) + _section(question) + _section(answer)


EXAMPLE = _example()
