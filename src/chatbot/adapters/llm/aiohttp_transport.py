"""The aiohttp transport: sends requests as JSON, reads server-sent events or JSON.

The openai SDK validates every message and every streamed chunk: 0.3 ms each, on the event loop.
Here, chunks that arrived together are processed together.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import aiohttp

from chatbot.adapters.llm.answers import Answer, document_begun_in, document_in
from chatbot.adapters.llm.chat_completions import AFTER_THE_END_S, OnText, Transport, model_ids_in
from chatbot.adapters.llm.provider_http import ProviderHttp, read_body, unread
from chatbot.adapters.llm.quirks import Body
from chatbot.adapters.llm.sse import BOM, EventData

_DRAIN_S = 0.05
_LAST = 8  # bytes of a body, which may end in whitespace


class AiohttpTransport(Transport):
    """Uses the connections of `ProviderHttp`."""

    def __init__(self, http: ProviderHttp) -> None:
        self._http = http

    async def ask(self, body: Body, answer: Answer, on_text: OnText) -> None:
        async with self._http.request("POST", "chat/completions", body=body) as response:
            reading = _Reading(response, answer, on_text)
            try:
                await reading.read()
            except Exception:
                if not answer.is_finished:
                    raise

    async def model_ids(self) -> list[str]:
        async with self._http.request("GET", "models") as response:
            return model_ids_in(document_in(await read_body(response)))

    async def post(self, path: str, body: Body) -> object:
        async with self._http.request("POST", path, body=body) as response:
            return document_in(await read_body(response))

    async def aclose(self) -> None:
        await self._http.aclose()


class _Reading:
    """Reads one response, events or a document: its first byte decides.

    Some providers stream without being asked to, or do not although they are.
    """

    def __init__(self, response: aiohttp.ClientResponse, answer: Answer, on_text: OnText) -> None:
        self._response = response
        self._content = response.content
        self._answer = answer
        self._on_text = on_text

    async def read(self) -> None:
        first, size = b"", 0
        while not _begins(first):
            piece = await self._more()
            size += len(piece)
            if not piece or size > self._answer.max_raw_bytes:
                return
            first = (
                piece if first.isspace() else first + piece
            )  # whitespace keeps a connection alive
        if _begins(first) in b"{[":
            await self._read_document(bytearray(first))
        else:
            await self._read_events(first)

    async def _more(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            return await self._content.readany()
        except aiohttp.ClientError:
            if arrived_before := unread(self._response):
                return arrived_before
            raise

    async def _read_events(self, piece: bytes) -> None:
        events, size = EventData(), 0
        loop, answer = asyncio.get_running_loop(), self._answer
        async with asyncio.timeout(None) as patience:
            while piece:
                if self._feed(events.feed(piece)):
                    await _drain(self._response)
                    return
                size += len(piece)
                if size > answer.max_raw_bytes:
                    answer.cut()
                if answer.is_full:
                    return
                if answer.is_finished and patience.when() is None:
                    patience.reschedule(loop.time() + AFTER_THE_END_S)
                piece = await self._more()
        self._feed(events.flush())  # there was no [DONE]

    def _feed(self, events: Iterable[bytes]) -> bool:
        """Process events that arrived together, with one callback; return True at the end.

        The text before an invalid event is passed on before its error is raised.
        """
        texts: list[str] = []
        try:
            for data in events:
                if data.strip() == b"[DONE]":
                    return True
                if data.strip():
                    texts.append(self._answer.feed(document_in(data)))
            return False
        finally:
            self._on_text("".join(texts))

    async def _read_document(self, data: bytearray) -> None:
        most = self._answer.max_document_bytes
        try:
            while len(data) <= most and (piece := await self._next_of_document(data)):
                data += piece
        except Exception:
            # The connection may be lost after the end of a complete answer.
            if not self._feed_if_complete(data):
                raise
        if len(data) > most:
            self._on_text(self._answer.feed(document_begun_in(data)))
            self._answer.cut()
        elif not self._answer.is_finished:
            self._on_text(self._answer.feed(document_in(data)))

    async def _next_of_document(self, data: bytearray) -> bytes:
        """The next piece; after a complete document, wait only briefly for the end of the body."""
        if data[-_LAST:].rstrip().endswith(b"}"):
            try:
                async with asyncio.timeout(AFTER_THE_END_S):
                    return await self._more()
            except TimeoutError:
                if self._feed_if_complete(data):
                    return b""
        return await self._more()

    def _feed_if_complete(self, data: bytearray) -> bool:
        """Feed the document if it contains a finished answer; return whether it does."""
        trial = Answer()
        with suppress(Exception):
            document = document_in(data)
            trial.feed(document)
            if trial.is_finished:
                self._on_text(self._answer.feed(document))
                return True
        return False


def _begins(data: bytes) -> bytes:
    """The first byte after a byte order mark and whitespace; empty if it has not arrived."""
    return b"" if BOM.startswith(data) else data.removeprefix(BOM).lstrip()[:1]


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of the body: only then can the connection be reused."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in response.content.iter_any():
                pass
