"""A file whose version is removed while it is read: the client learns it, and does not wait."""

from collections.abc import AsyncGenerator, Sequence

import pytest
from starlette.responses import StreamingResponse

from chatbot.application.documents import Content
from chatbot.domain.documents import Document, DocumentId, Version, scope_of
from chatbot.domain.errors import Conflict, NotFound
from chatbot.entrypoints.http.document_files import file_stream
from samples import T0

VERSION = Version(number=1, media_type="text/plain", size=6, digest="0" * 64, name="a.txt")
DOCUMENT = Document(
    id=DocumentId("0" * 32),
    title="A",
    scope=scope_of((), ()),
    digest=VERSION.digest,
    created_at=T0,
    updated_at=T0,
    newest=VERSION,
)


def content(*parts: bytes) -> Content:
    async def read() -> AsyncGenerator[bytes]:
        for part in parts:
            yield part

    return Content(document=DOCUMENT, version=VERSION, parts=read())


async def received(*parts: bytes) -> Sequence[object]:
    response = await file_stream(content(*parts))
    assert isinstance(response, StreamingResponse)
    return [part async for part in response.body_iterator]


async def test_file_is_sent_in_its_parts() -> None:
    assert await received(b"abc", b"def") == [b"abc", b"def"]


async def test_file_that_is_gone_is_not_found() -> None:
    with pytest.raises(NotFound):
        await received()


async def test_file_that_ends_early_cuts_the_connection() -> None:
    with pytest.raises(Conflict):
        await received(b"abc")
