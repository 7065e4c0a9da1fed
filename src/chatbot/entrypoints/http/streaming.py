"""A turn's events as an HTTP response: one JSON body, or server-sent events.

Headers are sent with the first delta, so that a failure before it is an ordinary error response. A
client that disconnects ends the turn either way.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

from fastapi.sse import KEEPALIVE_COMMENT
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatbot.application.turn import Delta, Reply, ReplyEvent, Started
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.entrypoints.http.errors import problem_of
from chatbot.entrypoints.http.wire import chat_answer

PING_S = 15.0

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx would buffer the stream
]

_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Returns JSON without line breaks, so that an event is one line of data.

`json.dumps` creates an encoder for each call, and `format_sse_event` searches for line breaks that
are not there: together 4 of the 45 us that a piece of a stream costs.
"""

Events = AsyncGenerator[ReplyEvent]


class TurnAnswer(Response):
    """Responds with the reply at the end of a turn."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply: Reply | None = None
        async with _UntilLeft(receive), aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, Reply):
                    reply = event
        if reply is None:
            scope["state"]["log"]["left"] = True
            return
        _note(scope, reply)
        await JSONResponse(chat_answer(reply))(scope, receive, send)


class TurnStream(Response):
    """Streams a turn's events as they come."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _Frames(send) as frames:
            async with _UntilLeft(receive) as caller, aclosing(self._events):
                await self._pass_on(scope, frames)
            if caller.has_left:
                scope["state"]["log"]["left"] = True
            else:
                await frames.end()

    async def _pass_on(self, scope: Scope, frames: "_Frames") -> None:
        waiting: list[ReplyEvent] = []
        try:
            async for event in self._events:
                waiting.append(event)
                if isinstance(event, Reply):
                    _note(scope, event)
                if frames.begun or not isinstance(event, Started):
                    await frames.send(*waiting)
                    waiting.clear()
        except Exception as error:
            if not frames.begun:
                raise
            scope["state"]["log"]["cause"] = cause_of(error)
            await frames.send_problem(error, scope["state"]["request_id"])
            if not isinstance(error, ChatbotError):
                await frames.end()
                raise  # a defect: the edge logs its traceback


class _UntilLeft:
    """Cancels the work inside when the client disconnects, and continues after the block."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.has_left = False

    async def __aenter__(self) -> Self:
        self._serving = asyncio.current_task()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._watching.cancel()
        if not self.has_left or self._serving is None:
            return False
        return self._serving.uncancel() == 0 and kind is asyncio.CancelledError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._serving is not None:
            self.has_left = True
            self._serving.cancel()


class _Frames:
    """Writes events as frames with increasing ids; the headers are sent with the first.

    A comment is sent whenever nothing else has been sent for 15 s, so that no proxy closes
    the connection as idle.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._count = 0
        self._written_at = asyncio.get_running_loop().time()
        self.begun = False

    async def __aenter__(self) -> Self:
        self._pinging = asyncio.create_task(self._ping())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pinging.cancel()

    async def _ping(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._written_at + PING_S - now())
            if not self.begun:
                self._written_at = now()
            elif now() >= self._written_at + PING_S:
                await self._write(KEEPALIVE_COMMENT)

    async def send(self, *events: ReplyEvent) -> None:
        await self._write(b"".join(self._frame(event) for event in events))

    async def send_problem(self, error: Exception, request_id: str) -> None:
        await self._write(self._named("error", problem_of(error).body(request_id)))

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, body: bytes) -> None:
        self._written_at = asyncio.get_running_loop().time()
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _frame(self, event: ReplyEvent) -> bytes:
        match event:
            case Started():
                ids = {"session_id": event.session_id, "turn_id": event.turn_id}
                return self._named("session", ids)
            case Delta():
                return self._named("delta", {"text": event.text})
            case Reply():
                return self._named("done", chat_answer(event))

    def _named(self, name: str, content: dict[str, object] | dict[str, str]) -> bytes:
        self._count += 1
        return f"event: {name}\ndata: {_encoded(content)}\nid: {self._count}\n\n".encode()


def _note(scope: Scope, reply: Reply) -> None:
    """Returns the turn's fields of the log line; never any content."""
    scope["state"]["log"].update(
        session_id=reply.session_id,
        model=reply.model,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        finish_reason=reply.finish_reason.value,
    )
