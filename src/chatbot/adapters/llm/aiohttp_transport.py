"""The aiohttp transport: the request as JSON, the answer as server-sent events or as JSON.

The openai SDK walks the types of every message and of every streamed chunk: 0.3 ms each, on the
event loop. Here, what arrived together is read together.
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
_LAST = 8  # bytes of a body, which may end in blanks


class AiohttpTransport(Transport):
    """Over the connections of `ProviderHttp`."""

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

    async def aclose(self) -> None:
        await self._http.aclose()


class _Reading:
    """One response while it is read. How it begins tells events from a document.

    Some providers stream although they are not asked to, and the other way round.
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
            first = piece if first.isspace() else first + piece  # blanks keep a connection awake
        if _begins(first) in b"{[":
            await self._read_document(bytearray(first))
        else:
            await self._read_events(first)

    async def _more(self) -> bytes:
        """The next piece, or nothing at the end."""
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
                if self._take(events.feed(piece)):
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
        self._take(events.flush())  # the provider does not say that it is done

    def _take(self, events: Iterable[bytes]) -> bool:
        """Take in what arrived together, hand its text on as one, and say whether it was the end.

        What is wrong with an event is raised after the text before it is handed on.
        """
        texts: list[str] = []
        try:
            for data in events:
                if data.strip() == b"[DONE]":
                    return True
                if data.strip():
                    texts.append(self._answer.take(document_in(data)))
            return False
        finally:
            self._on_text("".join(texts))

    async def _read_document(self, data: bytearray) -> None:
        most = self._answer.max_document_bytes
        try:
            while len(data) <= most and (piece := await self._next_of_document(data)):
                data += piece
        except Exception:
            # The connection may be cut behind the end of a whole answer.
            if not self._take_whole(data):
                raise
        if len(data) > most:
            self._on_text(self._answer.take(document_begun_in(data)))
            self._answer.cut()
        elif not self._answer.is_finished:
            self._on_text(self._answer.take(document_in(data)))

    async def _next_of_document(self, data: bytearray) -> bytes:
        """The next piece; a whole answer whose body does not end is not waited for long."""
        if data[-_LAST:].rstrip().endswith(b"}"):
            try:
                async with asyncio.timeout(AFTER_THE_END_S):
                    return await self._more()
            except TimeoutError:
                if self._take_whole(data):
                    return b""
        return await self._more()

    def _take_whole(self, data: bytearray) -> bool:
        """Take the document in if it is whole and holds a finished answer."""
        trial = Answer()
        with suppress(Exception):
            document = document_in(data)
            trial.take(document)
            if trial.is_finished:
                self._on_text(self._answer.take(document))
                return True
        return False


def _begins(data: bytes) -> bytes:
    """The first byte of the content, behind a byte order mark and blanks; empty if not there yet."""
    return b"" if BOM.startswith(data) else data.removeprefix(BOM).lstrip()[:1]


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of the body: only then can the connection be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in response.content.iter_any():
                pass
