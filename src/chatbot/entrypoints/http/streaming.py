"""A turn's events as an HTTP answer: one JSON body, or server-sent events.

Headers go out with the first delta, so that an outage before it is a plain problem answer. A
caller that leaves ends the turn either way.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatbot.application.turn import Delta, Reply, ReplyEvent, Started
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.entrypoints.http.errors import problem_of
from chatbot.entrypoints.http.wire import chat_answer

PING_S = 15.0

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the stream
]

Events = AsyncGenerator[ReplyEvent]


class TurnResponse(Response):
    """Answers with a turn; `as_stream` is what the caller asked for with `Accept`."""

    def __init__(self, events: Events, *, as_stream: bool) -> None:
        super().__init__()
        self._events = events
        self._as_stream = as_stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._send_stream if self._as_stream else self._send_json
        serving = asyncio.create_task(serve(scope, receive, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            gone = not serving.done()
            serving.cancel()
            await asyncio.wait({serving, leaving})
        if gone:
            scope["state"]["log"]["left"] = True
        else:
            serving.result()

    async def _send_json(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, Reply):
                    _note(scope, event)
                    await JSONResponse(chat_answer(event))(scope, receive, send)

    async def _send_stream(self, scope: Scope, _: Receive, send: Send) -> None:
        async with aclosing(self._events) as events, aclosing(_with_pings(events)) as beats:
            frames = _Frames(send)
            waiting: list[ReplyEvent] = []
            try:
                async for event in beats:
                    if isinstance(event, Reply):
                        _note(scope, event)
                    if frames.begun or not isinstance(event, Started | None):
                        await frames.send(*waiting, event)
                        waiting.clear()
                    elif event is not None:
                        waiting.append(event)
            except Exception as error:
                if not frames.begun:
                    raise
                scope["state"]["log"]["cause"] = cause_of(error)
                await frames.send_problem(error, scope["state"]["request_id"])
                await frames.end()
                if not isinstance(error, ChatbotError):
                    raise  # a defect: the edge logs its traceback
            else:
                await frames.end()


class _Frames:
    """Writes events as frames with rising ids; the headers go out with the first."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._count = 0
        self.begun = False

    async def send(self, *events: ReplyEvent | None) -> None:
        await self._write(b"".join(self._frame(event) for event in events))

    async def send_problem(self, error: Exception, request_id: str) -> None:
        await self._write(self._named("error", problem_of(error).body(request_id)))

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, body: bytes) -> None:
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _frame(self, event: ReplyEvent | None) -> bytes:
        match event:
            case None:
                return KEEPALIVE_COMMENT
            case Started():
                ids = {"session_id": event.session_id, "turn_id": event.turn_id}
                return self._named("session", ids)
            case Delta():
                return self._named("delta", {"text": event.text})
            case Reply():
                return self._named("done", chat_answer(event))

    def _named(self, name: str, content: dict[str, object] | dict[str, str]) -> bytes:
        self._count += 1
        data = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return format_sse_event(data_str=data, event=name, id=str(self._count))


async def _with_pings(events: Events) -> AsyncGenerator[ReplyEvent | None]:
    """The events, with a None whenever 15 s have passed without one."""
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=PING_S)
            if not done:
                yield None
                continue
            event = following.result()
            if event is None:
                return
            yield event
            following = asyncio.ensure_future(anext(events, None))
    finally:
        if not following.done():
            following.cancel()
            await asyncio.wait({following})


async def _left(receive: Receive) -> None:
    """Return when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _note(scope: Scope, reply: Reply) -> None:
    """What the log line says about a turn; never what was said in it."""
    scope["state"]["log"].update(
        session_id=reply.session_id,
        model=reply.model,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        finish_reason=reply.finish_reason.value,
    )
