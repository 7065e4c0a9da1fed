"""Clients whose requests cost them little and the service much: `python tests/support/abusive_clients.py KIND PORT KEY`.

Eight connections until the end; one that is closed is followed by the next.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from socket import create_connection, socket

CONNECTIONS = 8
_PATIENCE_S = 5.0

Sending = Callable[[str], Iterator[bytes]]


def _post(*headers: str, key: str = "") -> bytes:
    named = [f"X-API-Key: {key}"] if key else []
    lines = ["POST /chat HTTP/1.1", "Host: x", "Content-Type: application/json", *named, *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def _endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    yield head
    yield from repeat(piece)


def _in_chunks(chunk: bytes, *, has_key: bool) -> Sending:
    def sending(key: str) -> Iterator[bytes]:
        head = _post("Transfer-Encoding: chunked", key=key if has_key else "")
        return _endless(head, chunk * max(1, 60_000 // len(chunk)))

    return sending


def _dribbled(_: str) -> Iterator[bytes]:
    """A thousand bytes per second and connection: more would use the sender's own CPU."""
    for byte in _endless(b"GET /health HTTP/1.1\r\nHost: x\r\n", b"a"):
        yield byte
        time.sleep(0.001)


KINDS: dict[str, Sending] = {
    "chunks of a byte": _in_chunks(b"1\r\na\r\n", has_key=False),
    "chunks of a byte with a key": _in_chunks(b"1\r\na\r\n", has_key=True),
    "chunks of ten bytes with a key": _in_chunks(b"a\r\n0123456789\r\n", has_key=True),
    "chunks with long extensions": _in_chunks(b"1;x=" + b"x" * 9000 + b"\r\na\r\n", has_key=True),
    "an endless trailer": _in_chunks(b"0\r\n" + b"a:b\r\n" * 9000, has_key=True),
    "a body of 200 MB": lambda _: _endless(_post("Content-Length: 200000000"), b"x" * 60_000),
    "bodies without a key": lambda _: repeat(_post("Content-Length: 60000") + b"x" * 60_000),
    "small bodies without a key": lambda _: repeat(_post("Content-Length: 9") + b"x" * 9),
    "requests ahead": lambda _: repeat(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 500),
    "refused requests ahead": lambda _: repeat(b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n" * 500),
    "many headers": lambda _: repeat(b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 4000),
    "long headers": lambda _: repeat(
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + (b"x: " + b"y " * 320 + b"y\r\n") * 98 + b"\r\n"
    ),
    "a long path": lambda _: repeat(b"GET /" + b"%41" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "many parameters": lambda _: repeat(
        b"GET /health?" + b"a&" * 7000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    "headers byte by byte": _dribbled,
}


def attack(port: int, pieces: Sending, key: str) -> None:
    """Send on one connection after the other; responses are left unread."""
    while True:
        with suppress(OSError), create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(_PATIENCE_S)
            threading.Thread(target=_read, args=[sock], daemon=True).start()
            for piece in pieces(key):
                sock.sendall(piece)


def _read(sock: socket) -> None:
    with suppress(OSError):
        while sock.recv(65_536):
            pass


if __name__ == "__main__":
    kind, number, api_key = sys.argv[1:]
    for _ in range(CONNECTIONS):
        threading.Thread(target=attack, args=[int(number), KINDS[kind], api_key]).start()
