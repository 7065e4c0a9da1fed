"""A turn's events as an HTTP response: one JSON body, or a stream in the format of a surface.

Headers are sent with the first delta, so that a failure before it is an ordinary error response. A
client that disconnects ends the turn either way.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Protocol, Self

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatbot.application.turn import Reply, ReplyEvent, Started
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.entrypoints.http.errors import ErrorDetails, details_of

PING_S = 15.0

Events = AsyncGenerator[ReplyEvent]


class Encoder(Protocol):
    """Writes the events of one turn in one format; a new one is made for each stream."""

    media_type: bytes
    keep_alive: bytes
    """What a client ignores; it is sent whenever nothing else has been sent for 15 s."""

    @abstractmethod
    def encode(self, event: ReplyEvent) -> bytes:
        """Return the bytes of an event; empty if the format has nothing for it."""

    @abstractmethod
    def error(self, details: ErrorDetails, request_id: str) -> bytes:
        """Return the bytes that end a stream whose turn failed."""


class TurnAnswer(Response):
    """Responds with one JSON body at the end of a turn."""

    def __init__(self, events: Events, body: Callable[[Reply], Mapping[str, object]]) -> None:
        super().__init__()
        self._events = events
        self._body_of = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply: Reply | None = None
        async with _UntilDisconnect(receive), aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, Reply):
                    reply = event
        if reply is None:
            scope["state"]["log"]["disconnected"] = True
            return
        _log_reply(scope, reply)
        await JSONResponse(self._body_of(reply))(scope, receive, send)


class TurnStream(Response):
    """Streams a turn's events as they arrive."""

    def __init__(self, events: Events, encoder: Encoder) -> None:
        super().__init__()
        self._events = events
        self._encoder = encoder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _StreamWriter(send, self._encoder) as writer:
            async with _UntilDisconnect(receive) as client, aclosing(self._events):
                await self._forward(scope, writer)
            if client.is_gone:
                scope["state"]["log"]["disconnected"] = True
            else:
                await writer.end()

    async def _forward(self, scope: Scope, writer: "_StreamWriter") -> None:
        pending = b""
        try:
            async for event in self._events:
                pending += self._encoder.encode(event)
                if isinstance(event, Reply):
                    _log_reply(scope, event)
                if pending and (writer.has_begun or not isinstance(event, Started)):
                    await writer.write(pending)
                    pending = b""
        except Exception as error:
            if not writer.has_begun:
                raise
            scope["state"]["log"]["cause"] = cause_of(error)
            request_id = scope["state"]["request_id"]
            await writer.write(self._encoder.error(details_of(error), request_id))
            if not isinstance(error, ChatbotError):
                await writer.end()
                raise  # a defect: the guard logs its traceback


class _UntilDisconnect:
    """Cancels the work inside when the client disconnects, and continues after the block."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_gone = False

    async def __aenter__(self) -> Self:
        self._serving = asyncio.current_task()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._watching.cancel()
        if not self.is_gone or self._serving is None:
            return False
        return self._serving.uncancel() == 0 and kind is asyncio.CancelledError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._serving is not None:
            self.is_gone = True
            self._serving.cancel()


class _StreamWriter:
    """Sends the headers with the first bytes, and keeps the connection from being idle.

    Proxies close a connection on which nothing is sent for long.
    """

    def __init__(self, send: Send, encoder: Encoder) -> None:
        self._send = send
        self._encoder = encoder
        self._written_at = asyncio.get_running_loop().time()
        self.has_begun = False

    async def __aenter__(self) -> Self:
        self._pinging = asyncio.create_task(self._ping())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pinging.cancel()

    async def _ping(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._written_at + PING_S - now())
            if not self.has_begun:
                self._written_at = now()
            elif now() >= self._written_at + PING_S:
                await self.write(self._encoder.keep_alive)

    async def write(self, body: bytes) -> None:
        self._written_at = asyncio.get_running_loop().time()
        if not self.has_begun:
            self.has_begun = True
            headers = [
                (b"content-type", self._encoder.media_type),
                (b"x-accel-buffering", b"no"),  # otherwise nginx would buffer the stream
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _log_reply(scope: Scope, reply: Reply) -> None:
    """Add the turn's fields to the log line; never any content."""
    scope["state"]["log"].update(
        session_id=reply.session_id,
        model=reply.model,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        finish_reason=reply.finish_reason.value,
    )
