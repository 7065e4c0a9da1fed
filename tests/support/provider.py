"""A fake OpenAI-compatible provider on loopback that controls its sockets and can misbehave.

As a program: `python tests/support/provider.py [--port 9911]`. In a test:

    async with FakeProvider() as provider:
        provider.fault = Fault.DROP  # or ask for the model "fault-drop"
        ... provider.base_url ... provider.requests[-1].body

It answers "You said: " and the newest user message, word by word in a stream; a request for a
JSON object is answered with a small update of structured memory. Embeddings are in `meaning`.
"""

import argparse
import asyncio
import json
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from meaning import DIMENSION, embeddings

Json = dict[str, Any]

SECRET = "sk-provider-secret"  # in every error body, as real providers quote keys and prompts
PIECES_BEFORE_FAULT = 2


class Fault(StrEnum):
    """What can go wrong. As a model name: `fault-` and the value."""

    REDIRECT = "307"  # to `moved_to`
    BAD_REQUEST = "400"
    UNAUTHENTICATED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    RATE_LIMITED = "429"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    SILENT = "silent"  # takes the request and says nothing
    SLOW = "slow"  # nothing for `slow_s`, then a good answer
    IDLE = "idle"  # two pieces, then nothing
    HANG_UP = "hang-up"  # closes before the first byte
    DROP = "drop"  # closes in the middle of the body
    RESET = "reset"  # the same, with a TCP reset
    GARBAGE = "garbage"  # a body that is neither JSON nor events
    GARBAGE_EVENT = "garbage-event"  # two good events, then one that is no JSON
    IN_BAND = "in-band"  # status 200, and an error object
    NO_CHOICES = "no-choices"
    NO_FINISH_REASON = "no-finish-reason"
    NO_USAGE = "no-usage"
    EMPTY = "empty"  # stops at once, without a word
    CONTENT_FILTER = "content-filter"
    REFUSAL = "refusal"
    LENGTH = "length"
    ALTERNATE = "alternate"  # 400 unless the roles alternate, as strict chat templates demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An answer as bytes. A number among the pieces is a pause in seconds.

    Without a `content_length` the body is chunked. `hangs_up` closes the connection behind the
    last piece, `hangs` leaves it open without an end.
    """

    pieces: Sequence[bytes | float]
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    content_length: int | None = None
    hangs_up: bool = False
    hangs: bool = False


REASONS = {
    Fault.CONTENT_FILTER: "content_filter",
    Fault.LENGTH: "length",
    Fault.NO_FINISH_REASON: None,
}


@dataclass(slots=True)
class Received:
    """A received request. `client_left` is set when the client closes before the end."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    query: str = ""
    client_left: asyncio.Event = field(default_factory=asyncio.Event)


def closed_port_url() -> str:
    """A base URL where connections are refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


class FakeProvider:
    """The server. Every public attribute may be set while it runs."""

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.fault: Fault | None = None
        # None: there is no list, and asking for it is a 404
        self.models: list[str] | None = ["fake-model", "text-embedding-fake", "whisper-fake"]
        self.reply: Callable[[Json], str] = default_reply
        self.raw: Callable[[Json], Raw | None] = lambda _: None  # what is said instead, if anything
        self.api_key: str | None = None  # if set, another one is a 401
        self.retry_after = "1"
        self.moved_to = "http://127.0.0.1:9/v1/chat/completions"
        self.dimension = DIMENSION  # of embeddings
        self.slow_s = 0.05
        self.piece_delay_s = 0.0
        self.segment_bytes: int | None = None  # events are cut into HTTP chunks of this size
        self.requests: list[Received] = []
        self.arrived = asyncio.Event()  # set with every request; clear it to wait for the next
        self.connections = 0
        self._port = port
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._port, ssl=self._tls
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        """By address; with TLS by the name `localhost`."""
        where = "https://localhost" if self._tls else "http://127.0.0.1"
        return f"{where}:{self._port}/v1"

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(Wire(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, wire: "Wire") -> None:
        try:
            while (received := await wire.receive()) is not None:
                self.requests.append(received)
                self.arrived.set()
                watching = asyncio.create_task(wire.watch(received))
                try:
                    await self._answer(wire, received)
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left, or a fault closed the connection
        finally:
            wire.writer.close()
            with suppress(ConnectionError):
                await wire.writer.wait_closed()

    async def _answer(self, wire: "Wire", received: Received) -> None:
        key = received.headers.get("authorization", "").removeprefix("Bearer ")
        fault = self._fault_of(received)
        if self.api_key is not None and key != self.api_key:
            fault = Fault.UNAUTHENTICATED
        if fault is Fault.ALTERNATE and alternates(received.body):
            fault = None
        if (raw := self.raw(received.body)) is not None:
            await wire.send_raw(raw, received)
            return
        status = status_of(fault)
        if status != 200:
            headers = {"Retry-After": self.retry_after} if status in {429, 503} else {}
            headers |= {"Location": self.moved_to} if status == 307 else {}
            await wire.send_json(error_body(status), status=status, headers=headers)
        elif fault is Fault.SILENT:
            await received.client_left.wait()
        elif fault is Fault.HANG_UP:
            wire.hang_up()
        else:
            await self._answer_well(wire, received, fault)

    async def _answer_well(self, wire: "Wire", received: Received, fault: Fault | None) -> None:
        if fault is Fault.SLOW:
            await pause(received, self.slow_s)
        if received.path.endswith("/chat/completions"):
            answer = self._stream if received.body.get("stream") else self._complete
            await answer(wire, received, fault)
        elif received.path.endswith("/models") and self.models is not None:
            await wire.send_json({"object": "list", "data": [model(m) for m in self.models]})
        elif received.path.endswith("/embeddings"):
            await wire.send_json(embeddings(received.body, dimension=self.dimension))
        else:
            await wire.send_json(error_body(404), status=404)

    async def _complete(self, wire: "Wire", received: Received, fault: Fault | None) -> None:
        body = completion(received.body, self.reply(received.body), fault)
        match fault:
            case Fault.GARBAGE | Fault.GARBAGE_EVENT:
                await wire.send(b"<html>{", content_type="application/json")
            case Fault.DROP | Fault.RESET | Fault.IDLE:
                await wire.send_half(json.dumps(body).encode())
                if fault is Fault.IDLE:
                    await received.client_left.wait()
                wire.hang_up(reset=fault is Fault.RESET)
            case _:
                await wire.send_json(body)

    async def _stream(self, wire: "Wire", received: Received, fault: Fault | None) -> None:
        await wire.begin_stream()
        async for event in self._events(wire, received, fault):
            data = event.encode()
            size = self.segment_bytes or len(data)
            for start in range(0, len(data), size):
                await wire.send_chunk(data[start : start + size])
            await pause(received, self.piece_delay_s)
        await wire.end_stream()

    async def _events(
        self, wire: "Wire", received: Received, fault: Fault | None
    ) -> AsyncIterator[str]:
        if fault is Fault.GARBAGE:
            yield "<html>\n\nnot an event\r\n\r\n"
            return
        yield ": a comment, as some providers send to keep proxies awake\r\n\r\n"
        chunks = stream_chunks(received.body, self.reply(received.body), fault)
        for number, chunk in enumerate(chunks):
            if number == PIECES_BEFORE_FAULT:
                match fault:
                    case Fault.IDLE:
                        await received.client_left.wait()
                    case Fault.DROP | Fault.RESET:
                        wire.hang_up(reset=fault is Fault.RESET)
                    case Fault.IN_BAND:
                        yield sse(error_body(500))
                        return
                    case Fault.GARBAGE_EVENT:
                        yield "data: {no json\n\n"
                        return
            yield sse(chunk)
        yield "data: [DONE]\n\n"

    def _fault_of(self, received: Received) -> Fault | None:
        name = str(received.body.get("model", ""))
        return self.fault or (Fault(name[6:]) if name.startswith("fault-") else None)


@dataclass(slots=True)
class Wire:
    """One connection, at the level of HTTP/1.1's bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def receive(self) -> Received | None:
        """The next request, or `None` when the client has closed the connection."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        raw = await self.reader.readexactly(int(headers.get("content-length", "0")))
        body = json.loads(raw) if raw else {}
        path, _, query = target.partition("?")
        return Received(method=method, path=path, headers=headers, body=body, query=query)

    async def watch(self, received: Received) -> None:
        """Notice when the client closes while it should be waiting for its response."""
        with suppress(ConnectionError):
            await self.reader.read(1)
        received.client_left.set()

    async def send_json(
        self, body: Json, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        await self.send(json.dumps(body).encode(), status=status, headers=headers)

    async def send(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        length = {"Content-Length": str(len(body))}
        self._head(status, content_type, {**length, **(headers or {})})
        self.writer.write(body)
        await self.writer.drain()

    async def send_half(self, body: bytes) -> None:
        self._head(200, "application/json", {"Content-Length": str(len(body))})
        self.writer.write(body[: len(body) // 2])
        await self.writer.drain()

    async def send_raw(self, raw: Raw, received: Received) -> None:
        length = raw.content_length
        framing = {"Transfer-Encoding": "chunked"}
        if length is not None:
            framing = {"Content-Length": str(length)}
        self._head(raw.status, raw.content_type, {**raw.headers, **framing})
        for piece in raw.pieces:
            if isinstance(piece, bytes):
                await (self.send_chunk(piece) if length is None else self.send_as_it_is(piece))
            else:
                await pause(received, piece)
        if raw.hangs:
            await received.client_left.wait()
        if raw.hangs_up:
            self.hang_up()
        if length is None:
            await self.end_stream()

    async def send_as_it_is(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def begin_stream(self) -> None:
        self._head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        await self.writer.drain()

    async def send_chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def end_stream(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection after the data sent so far; raises to stop further writes."""
        if reset:
            at_once = struct.pack("ii", 1, 0)
            raw: socket.socket = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.close()
        raise ConnectionAbortedError

    def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())


def status_of(fault: Fault | None) -> int:
    if fault is Fault.ALTERNATE:
        return 400
    return int(fault.value) if fault and fault.value.isdigit() else 200


def default_reply(body: Json) -> str:
    """The provider's answer: an echo, or a JSON update of structured memory."""
    said = [m.get("content", "") for m in body.get("messages", []) if m.get("role") == "user"]
    newest = said[-1] if said else ""
    if (body.get("response_format") or {}).get("type") == "json_object":
        return json.dumps({"facts": [newest[:60]]}, ensure_ascii=False)
    return f"You said: {newest}"


def alternates(body: Json) -> bool:
    roles = [m["role"] for m in body.get("messages", []) if m["role"] != "system"]
    return roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


def completion(body: Json, text: str, fault: Fault | None) -> Json:
    if fault is Fault.IN_BAND:
        return error_body(500)
    message: Json = {"role": "assistant", "content": "" if fault is Fault.EMPTY else text}
    if fault is Fault.REFUSAL:
        message = {"role": "assistant", "content": None, "refusal": "I will not."}
    choice = {"index": 0, "message": message, "finish_reason": REASONS.get(fault, "stop")}  # type: ignore[arg-type]  # None is no key
    choices = [] if fault is Fault.NO_CHOICES else [choice]
    usage = {} if fault is Fault.NO_USAGE else {"usage": usage_of(body, text)}
    return {**envelope(body, "chat.completion"), "choices": choices, **usage}


def stream_chunks(body: Json, text: str, fault: Fault | None) -> list[Json]:
    """One chunk per word, then one with the finish reason, then one with the usage."""
    if fault is Fault.NO_CHOICES:
        return [{**envelope(body, "chat.completion.chunk"), "choices": []}]
    deltas: list[Json] = [{"content": word} for word in re.findall(r"\s*\S+|\s+", text)]
    if fault is Fault.EMPTY:
        deltas = []
    if fault is Fault.REFUSAL:
        deltas = [{"refusal": "I will "}, {"refusal": "not."}]
    chunks = [chunk(body, delta, None) for delta in deltas]
    chunks.append(chunk(body, {}, REASONS.get(fault, "stop")))  # type: ignore[arg-type]  # as above
    wants_usage = (body.get("stream_options") or {}).get("include_usage")
    if wants_usage and fault is not Fault.NO_USAGE:
        usage = {"choices": [], "usage": usage_of(body, text)}
        chunks.append({**envelope(body, "chat.completion.chunk"), **usage})
    return chunks


def chunk(body: Json, delta: Json, reason: str | None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {**envelope(body, "chat.completion.chunk"), "choices": [choice]}


def envelope(body: Json, kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body.get("model")}


def usage_of(body: Json, text: str) -> Json:
    """Tokens, counted as words."""
    prompt = sum(len(str(m.get("content", "")).split()) for m in body.get("messages", []))
    answer = len(text.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
    }


def model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1, "owned_by": "fake"}


def error_body(status: int) -> Json:
    return {"error": {"message": f"No, {SECRET}", "type": "fake_error", "code": str(status)}}


def sse(body: Json) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


async def pause(received: Received, seconds: float) -> None:
    """Wait at most as long as the client does."""
    if seconds:
        with suppress(TimeoutError):
            await asyncio.wait_for(received.client_left.wait(), seconds)


async def _main(port: int) -> None:
    async with FakeProvider(port=port) as provider:
        print(  # noqa: T201 - it is a program too
            f"OPENAI_BASE_URL={provider.base_url}\nGENKIT_MODEL=openai/fake-model\n"
            "# or a fault: GENKIT_MODEL=openai/fault-429, openai/fault-drop ...",
            flush=True,
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible provider.")
    parser.add_argument("--port", type=int, default=9911)
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args().port))
