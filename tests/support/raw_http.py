"""Requests as bytes that no HTTP client would send."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx

from conversation import PATIENCE_S
from service import API_KEY, Service

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(service: Service) -> AsyncGenerator[Connection]:
    url = httpx.URL(service.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
    finally:
        writer.close()
        await asyncio.wait({asyncio.ensure_future(writer.wait_closed())})


async def answer_to_raw(service: Service, request: bytes) -> httpx.Response:
    """The response to these bytes, where `%b` stands for the API key; it may come before the end."""
    async with connected(service) as (reader, writer):
        writer.write(request.replace(b"%b", API_KEY.encode()))
        return await read_answer(reader)


async def read_answer(reader: asyncio.StreamReader) -> httpx.Response:
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head.decode().strip().split("\r\n")
    headers = httpx.Headers(
        [(name, value) for name, _, value in (x.partition(": ") for x in lines)]
    )
    found = httpx.Response(int(status_line.split()[1]), headers=headers)
    body = await reader.readexactly(int(found.headers.get("content-length", 0)))
    return httpx.Response(found.status_code, headers=headers, content=body)
