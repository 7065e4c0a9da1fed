"""A provider that streams a token each 20 ms, on as many connections as ask, with next to no CPU."""

import asyncio
import json
import os
import re

TOKENS = int(os.environ.get("BENCH_TOKENS", "300"))
PAUSE_S = float(os.environ.get("BENCH_PAUSE_S", "0.02"))
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LENGTH = re.compile(rb"(?i)content-length:\s*(\d+)")


def chunk(**choice: object) -> bytes:
    event = {
        "id": "bench",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "bench",
        "choices": [{"index": 0, "finish_reason": None, **choice}],
    }
    return framed(f"data: {json.dumps(event)}\n\n".encode())


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_FIRST = _HEAD + chunk(delta={"role": "assistant", "content": ""})
_TOKEN = chunk(delta={"content": "token "})
_LAST = chunk(delta={}, finish_reason="stop") + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            await reader.readexactly(int(found[1]) if found else 0)
            began = loop.time()
            writer.write(_FIRST)
            for number in range(1, TOKENS + 1):
                await asyncio.sleep(began + number * PAUSE_S - loop.time())
                writer.write(_TOKEN)
            writer.write(_LAST)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    port = int(os.environ["PORT"])
    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=2048) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
