"""An example request and response for each call, for the OpenAPI document.

They tell one story: Ana in a new session. A test validates them against the models in `wire`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi.sse import format_sse_event

from chatbot.domain import errors
from chatbot.entrypoints.http.errors import ErrorDetails, details_of
from chatbot.entrypoints.http.problem import problem_body

Json = Mapping[str, object]

_REQUEST_ID = "f1d6e8a07b6c4ae39a4f1c5d0b2e8f37"
_SESSION_ID = "0123456789abcdef" * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`problems` are the error codes that callers of this route should expect."""

    answer: Json
    body: Json | None = None
    problems: tuple[str, ...] = ()


def _problem(error: Exception) -> Json:
    return problem_body(details_of(error), _REQUEST_ID)


def _refusal(status: int, code: str, detail: str) -> Json:
    return problem_body(ErrorDetails(status=status, code=code, detail=detail), _REQUEST_ID)


_PROBLEMS = (
    _refusal(400, "bad_request", "A header that may occur only once is repeated."),
    _refusal(401, "unauthenticated", "The header X-API-Key is missing."),
    _refusal(401, "invalid_api_key", "The API key is invalid."),
    _problem(errors.InvalidCredentials()),
    _problem(errors.InvalidToken()),
    _problem(errors.NotFound()),
    _problem(errors.Revoked()),
    _problem(errors.SessionBusy()),
    _problem(errors.PromptTooLong("A prompt can have at most 4000 characters.")),
    _problem(errors.InvalidInput("The prompt is empty.", where=("prompt",))),
    _problem(errors.RateLimited("Too many failed log-ins. Try again later.", retry_after_s=30)),
    _problem(errors.PromptRefused()),
    _problem(errors.ModelUnavailable()),
    _problem(errors.ShuttingDown()),
)
PROBLEMS: Mapping[str, Json] = {str(one["code"]): one for one in _PROBLEMS}

_KEY = ("unauthenticated", "invalid_api_key")
_CALLER = (*_KEY, "invalid_token")
_OF_A_SESSION = (*_CALLER, "not_found")
_CHANGING = (*_OF_A_SESSION, "session_busy")

_NOTICE = "You are talking to an artificial intelligence system; its answers may be wrong."
_PROMPT = "Hello, my name is Ana. Remind me to call HR."
_TEXT = "Noted, Ana: call HR."
_CREATED_AT, _UPDATED_AT = "2026-01-31T09:30:00.123456Z", "2026-01-31T09:30:02.654321Z"
_TIMES: Json = {"created_at": _CREATED_AT, "updated_at": _UPDATED_AT}
_SUMMARY: Json = {"summary": "Ana asked to be reminded to call HR."}
_MEMORY: Json = {
    "structured_memory": {
        "profile": {"name": "Ana", "role": None},
        "preferences": {"language": "en", "tone": "neutral"},
        "facts": ["Ana works in sales."],
        "todos": ["call HR"],
    }
}
_NO_MEMORY: Json = {
    "structured_memory": {
        "profile": {"name": None, "role": None},
        "preferences": {"language": "es", "tone": "neutral"},
        "facts": [],
        "todos": [],
    }
}
_ID: Json = {"session_id": _SESSION_ID}
_LINE: Json = {**_ID, "title": _PROMPT, **_TIMES, "message_count": 2}
_TURN: Json = {"turn_id": "b94f8afc8be6ad8dbb5ebb3a46e176d7"}
_USER_MESSAGE: Json = {"role": "user", "content": _PROMPT, "ts": _CREATED_AT, **_TURN}
_ASSISTANT_MESSAGE: Json = {"role": "assistant", "content": _TEXT, "ts": _UPDATED_AT, **_TURN}
_MESSAGES = [
    {"seq": 1, **_USER_MESSAGE, "state": "complete"},
    {"seq": 2, **_ASSISTANT_MESSAGE, "state": "complete"},
]
_REPLY: Json = {
    **_ID,
    "text": _TEXT,
    **_TURN,
    "finish_reason": "stop",
    "usage": {"input_tokens": 422, "output_tokens": 9, "estimated": False},
    "model": "openai/a-model",
    "memory_used": [],
    "notice": _NOTICE,
}

EXAMPLES: Mapping[str, Example] = {
    "GET /health": Example(answer={"status": "ok"}, problems=("bad_request",)),
    "GET /ready": Example(answer={"status": "ok"}, problems=("shutting_down",)),
    "POST /auth/login": Example(
        body={"email": "admin@example.com", "password": "the password that make run printed"},
        answer={"access_token": "eyJhbGci.eyJzdWIi.c2lnbmF0", "token_type": "bearer"}
        | {"expires_in": 3600},
        problems=(*_KEY, "invalid_credentials", "rate_limited"),
    ),
    "GET /me": Example(
        answer={
            "id": "5f0c6a1e9d5b4f0e8f6b1d2c3a4b5c6d",
            "email": "admin@example.com",
            "roles": ["admin"],
            "department": "",
            "is_active": True,
        },
        problems=_CALLER,
    ),
    "POST /chat": Example(
        body={"prompt": _PROMPT},
        answer=_REPLY,
        problems=(
            *(*_CHANGING, "revoked"),
            *("prompt_too_long", "invalid_request", "prompt_refused"),
            *("model_unavailable", "shutting_down"),
        ),
    ),
    "POST /sessions/new": Example(
        body={}, answer={**_ID, "notice": _NOTICE}, problems=(*_CALLER, "invalid_request")
    ),
    "GET /sessions": Example(answer={"sessions": [_LINE], "next": None}, problems=_CALLER),
    "GET /sessions/{session_id}": Example(
        answer={**_ID, "title": _PROMPT, **_TIMES, "summary": "", **_MEMORY, "messages": _MESSAGES},
        problems=_OF_A_SESSION,
    ),
    "POST /sessions/{session_id}/reset": Example(
        body={},
        answer={**_ID, "title": "", **_TIMES, "summary": "", **_NO_MEMORY, "messages": []},
        problems=(*_CHANGING, "invalid_request"),
    ),
    "DELETE /sessions/{session_id}": Example(answer={"deleted": True, **_ID}, problems=_CHANGING),
    "GET /sessions/{session_id}/summary": Example(
        answer={**_ID, **_SUMMARY}, problems=_OF_A_SESSION
    ),
    "PUT /sessions/{session_id}/summary": Example(
        body=_SUMMARY, answer={**_ID, **_SUMMARY}, problems=(*_CHANGING, "invalid_request")
    ),
    "POST /sessions/{session_id}/summary/reset": Example(
        body={}, answer={**_ID, "summary": ""}, problems=(*_CHANGING, "invalid_request")
    ),
    "GET /sessions/{session_id}/memory": Example(answer={**_ID, **_MEMORY}, problems=_OF_A_SESSION),
    "PUT /sessions/{session_id}/memory": Example(
        body=_MEMORY, answer={**_ID, **_MEMORY}, problems=(*_CHANGING, "invalid_request")
    ),
    "POST /sessions/{session_id}/memory/reset": Example(
        body={}, answer={**_ID, **_NO_MEMORY}, problems=(*_CHANGING, "invalid_request")
    ),
}


def stream() -> str:
    """The answer to POST /chat as server-sent events: ids, pieces of text, complete answer."""
    ids = {name: _REPLY[name] for name in ("session_id", "turn_id")}
    pieces = [{"text": "Noted, Ana:"}, {"text": " call HR."}]
    events = [("session", ids), *(("delta", piece) for piece in pieces), ("done", _REPLY)]
    frames = (
        format_sse_event(data_str=json.dumps(content), event=name, id=str(count))
        for count, (name, content) in enumerate(events, start=1)
    )
    return b"".join(frames).decode()
