"""Sends files of documents as downloads that no browser renders, and describes their bodies in
OpenAPI.
"""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from chatbot.application.documents import Content
from chatbot.domain.errors import Conflict, NotFound
from chatbot.entrypoints.http.schemas.documents import DocumentBody, TextBody
from chatbot.entrypoints.http.uploads import FORM, JSON

_BINARY = {"schema": {"type": "string", "format": "binary"}, "example": "%PDF-1.7 ..."}


async def file_stream(content: Content) -> Response:
    """Returns the bytes as a download. The first part is read before the headers are sent.

    With `application/octet-stream` and `nosniff`, no browser renders any content. If the version is
    removed in the meantime, the connection is closed, so that the client does not wait for the
    rest.

    Raises:
        NotFound: the version has already been removed.
    """
    first = await anext(content.parts, b"")
    if len(first) < min(content.version.size, 1):
        raise NotFound("The document does not have this version.")
    headers = {
        "Content-Disposition": disposition(content.version.name or content.document.title),
        "Content-Length": str(content.version.size),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(
        _all(first, content), media_type="application/octet-stream", headers=headers
    )


async def _all(first: bytes, content: Content) -> AsyncGenerator[bytes]:
    left = content.version.size - len(first)
    yield first
    async for part in content.parts:
        left -= len(part)
        yield part
    if left:
        raise Conflict("The version was deleted while it was being read.")


def disposition(name: str) -> str:
    """Returns the header that names a file to be saved (RFC 6266), in ASCII and in UTF-8."""
    plain = "".join(char if char.isascii() and char.isprintable() else "_" for char in name)
    plain = plain.replace("\\", "_").replace('"', "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


CONTENT: dict[str, Any] = {
    "description": "The uploaded file, unchanged.",
    "content": {"application/octet-stream": _BINARY},
    "headers": {
        "Content-Disposition": {
            "description": "`attachment`, with the name of the file.",
            "schema": {"type": "string"},
        }
    },
}
"""The response of a file for the OpenAPI document."""


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    found = model.model_json_schema(ref_template="#/components/schemas/{model}")
    found.pop("$defs", None)
    return found


def _form(*, with_fields: bool) -> dict[str, Any]:
    text = {"type": "string"}
    properties: dict[str, Any] = {"file": {"type": "string", "format": "binary"}}
    if with_fields:
        properties |= {
            "title": {**text, "description": "The title: 1 to 200 characters."},
            "access": {
                **text,
                "description": "The access rule, as JSON: see `access` in the JSON body.",
            },
            "labels": {
                "type": "array",
                "items": text,
                "description": "One field per label, or one field with labels separated by commas.",
            },
        }
    schema = {"type": "object", "properties": properties, "required": ["file"]}
    return {"schema": {**schema, "additionalProperties": False}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


NEW_BODY = _body({FORM: _form(with_fields=True), JSON: {"schema": _schema(DocumentBody)}})
CONTENT_BODY = _body(
    {
        FORM: _form(with_fields=False),
        JSON: {"schema": _schema(TextBody)},
        "application/octet-stream": _BINARY,
    }
)
"""The bodies of uploads for the OpenAPI document: the routes receive them as they arrive."""
