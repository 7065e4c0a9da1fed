"""Receives the body of a request within its limits, and decodes it once."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from starlette.types import Message, Receive, Scope

from chatbot.entrypoints.http.errors import ErrorDetails, Rejected

DECODED = "body"
"""Key in the request's state under which the decoded body is passed to the route."""

BODY_DEADLINE_S = 20.0

TOO_LARGE = ErrorDetails(status=413, code="body_too_large", detail="The body is too large.")
TOO_SLOW = ErrorDetails(
    status=408, code="request_timeout", detail="The request body was not received in time."
)
UNSUPPORTED = ErrorDetails(
    status=415,
    code="unsupported_media_type",
    detail="The request body must be application/json.",
)
_CUT_OFF = ErrorDetails(status=400, code="bad_request", detail="The request body ended early.")

ANY = "*/*"

METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Bodies of other methods are ignored (RFC 9110, section 9.3)."""

_OTHER_CHARSET = re.compile(rb"charset\s*=(?!\s*\"?utf-?8\b)")

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFormat:
    """A media type that a surface accepts, and the most bytes and seconds that a body may take.

    `*/*` is each that is named.

    With `decode`, a body is received whole and must be UTF-8; `decode` returns its value or raises
    `Rejected`. Without, it is passed on as it arrives, as an upload should be.
    """

    media_type: str
    max_bytes: int
    decode: Callable[[bytes], object] | None = None
    deadline_s: float = BODY_DEADLINE_S


_UNNAMED = BodyFormat(media_type="", max_bytes=64 * 1024)
"""The limits of a body that no format accepts, which is read only as far as needed to reject it."""


def too_large(max_bytes: int) -> Rejected:
    """Returns the error for a body above this limit."""
    limit = f"{max_bytes >> 20} MiB" if max_bytes >= 1 << 20 else f"{max_bytes >> 10} KiB"
    return Rejected(replace(TOO_LARGE, detail=f"The body is too large: the limit is {limit}."))


async def receive_body(
    formats: Sequence[BodyFormat], scope: Scope, headers: Headers, receive: Receive
) -> Receive:
    """Returns the `receive` from which the application reads the body.

    Raises:
        Rejected: the body is too large, too slow, incomplete, or not in one of the formats.
    """
    if scope["method"] not in METHODS:
        return receive
    media_type, _, parameters = headers.get(b"content-type", b"").lower().partition(b";")
    name = media_type.strip().decode("latin-1")
    names = {name, ANY} if name else set()
    found = next((one for one in formats if one.media_type in names), None)
    bounds = found or min((*formats, _UNNAMED), key=lambda one: one.max_bytes)  # it may be empty
    if int(headers.get(b"content-length", b"0")) > bounds.max_bytes:
        raise too_large(bounds.max_bytes)
    bounded = _bounded(receive, bounds)
    if found is not None and found.decode is None:
        _check_encoding(headers)
        return bounded
    body = await _whole(bounded)
    if body:
        _check_encoding(headers)
        if found is None or found.decode is None:
            accepted = " or ".join(one.media_type for one in formats)
            raise _unsupported(f"The request body must be {accepted}.")
        if _OTHER_CHARSET.search(parameters):
            raise _unsupported("The request body must be UTF-8.")
        scope["state"][DECODED] = found.decode(body)
    return _replay(body, receive)


def _bounded(receive: Receive, bounds: BodyFormat) -> Receive:
    """A `receive` that counts bytes and seconds until the body is complete."""
    size, is_complete = 0, False
    deadline = asyncio.get_running_loop().time() + bounds.deadline_s

    async def bounded() -> Message:
        nonlocal size, is_complete
        if is_complete:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise Rejected(TOO_SLOW) from None
        if message["type"] == "http.disconnect":
            raise Rejected(_CUT_OFF)
        size += len(message.get("body", b""))
        if size > bounds.max_bytes:
            raise too_large(bounds.max_bytes)
        is_complete = not message.get("more_body", False)
        return message

    return bounded


async def _whole(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that delivers the body once, and then waits for the client to disconnect."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _check_encoding(headers: Headers) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _unsupported(
            "Compressed request bodies are not supported: send the body without Content-Encoding."
        )


def _unsupported(detail: str) -> Rejected:
    return Rejected(replace(UNSUPPORTED, detail=detail))
