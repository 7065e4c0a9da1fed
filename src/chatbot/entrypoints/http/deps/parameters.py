"""Parameters that several routes share."""

import re
from typing import Annotated, cast

from fastapi import Body, Depends, Path, Query, Request
from pydantic import BeforeValidator

from chatbot.domain.chat import SessionId, is_session_id
from chatbot.domain.errors import NotFound
from chatbot.entrypoints.container import use_cases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.base import SESSION_ID, TURN_ID, NoFields


async def _use_cases(request: Request) -> use_cases.UseCases:
    """Runs on the event loop: FastAPI would call a plain function in a thread."""
    return cast("use_cases.UseCases", request.app.state.use_cases)


UseCases = Annotated[use_cases.UseCases, Depends(_use_cases)]
"""The use cases of the application that serves a request."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser (RFC 7493) and every store keeps exactly."""

_DIGITS = re.compile("[0-9]{1,16}", re.ASCII)


def _require_digits(raw: object) -> object:
    """Rejects ` 1`, `+1`, `1_0` and `1.0`, which pydantic would accept as numbers."""
    if isinstance(raw, str) and _DIGITS.fullmatch(raw) is None:
        raise ValueError("must be a whole number, in digits")
    return raw


DIGITS = BeforeValidator(_require_digits)

Limit = Annotated[
    int, Query(ge=1, le=200, description="The maximum number of entries on the page."), DIGITS
]
TitleQuery = Annotated[
    str,
    Query(
        max_length=200, description="Only sessions whose title contains this text, ignoring case."
    ),
]
After = Annotated[
    str | None, Query(max_length=200, description="The value of `next` on the previous page.")
]
Before = Annotated[
    int | None,
    Query(ge=1, le=MAX_INTEGER, description="Only messages whose `seq` is smaller than this."),
    DIGITS,
]


AfterAccess = Annotated[
    str,
    Query(
        max_length=64,
        pattern=r"^([0-9a-f-]*)$",
        description="The value of `next` on the previous page.",
    ),
]


async def _no_fields(_: Annotated[NoFields, Body(default_factory=NoFields)]) -> None:
    """Rejects a body with fields, as every other route rejects unknown fields."""


WithoutFields = Depends(_no_fields)


def session_id_of(request: Request, raw: str) -> SessionId:
    """Returns the session id, and adds it to the log line.

    Raises:
        NotFound: the id is malformed, so no such session exists.
    """
    if not is_session_id(raw):
        raise NotFound
    request.state.log["session_id"] = raw
    return SessionId(raw)


@documented(NotFound)
async def _path_session_id(
    request: Request,
    session_id: Annotated[str, Path(description="The id of the session.", examples=[SESSION_ID])],
) -> SessionId:
    return session_id_of(request, session_id)


PathTurnId = Annotated[str, Path(description="The id of the turn.", examples=[TURN_ID])]

AnySessionId = Annotated[str, Path(description="The id of the session.", examples=[SESSION_ID])]
"""For callers who may read any session: the use case rejects others before it looks for the session."""

PathSessionId = Annotated[SessionId, Depends(_path_session_id)]
