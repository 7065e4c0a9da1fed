"""/documents: the documents that the caller may read."""

from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Response

from chatbot.application.documents import DocumentFilter
from chatbot.domain.documents import Status
from chatbot.domain.errors import (
    AuditUnavailable,
    DuplicateDocument,
    Forbidden,
    InvalidInput,
    NotFound,
    StorageFull,
    TooManyDocuments,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.cursor import read_text_cursor
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import DIGITS, After, Limit, UseCases
from chatbot.entrypoints.http.deps.uploads import NewContent, NewUpload
from chatbot.entrypoints.http.document_files import CONTENT, CONTENT_BODY, NEW_BODY, file_stream
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.etags import IfMatch, tag, tagged
from chatbot.entrypoints.http.schemas.documents import (
    DOCUMENT_ID,
    DeletedDocumentAnswer,
    DocumentAnswer,
    DocumentChangeBody,
    DocumentsAnswer,
    StoredDocumentAnswer,
)

router = routing.router(tag="documents", prefix="/documents")

_CHANGING = (Forbidden, AuditUnavailable, StorageFull)
Force = Annotated[
    Literal["true", "false"],
    Query(description="`true`: upload the file even if it is already stored with the same access."),
]
Number = Annotated[
    int | None,
    Query(
        ge=1,
        le=10**9,
        description="The number of the version. Default: `answering_version`, or else the newest.",
    ),
    DIGITS,
]


@documented(NotFound)
async def _document_id(
    document_id: Annotated[
        str, Path(description="The id of the document.", examples=[DOCUMENT_ID])
    ],
) -> str:
    return document_id


PathDocumentId = Annotated[str, Depends(_document_id)]


async def _wanted(
    label: Annotated[
        str | None, Query(max_length=200, description="Only documents with this label.")
    ] = None,
    status: Annotated[
        Status | None, Query(description="Only documents whose newest version has this status.")
    ] = None,
    query: Annotated[
        str | None,
        Query(max_length=200, description="Only documents whose title contains this text."),
    ] = None,
) -> DocumentFilter:
    return DocumentFilter(label=label, status=status, query=query)


Wanted = Annotated[DocumentFilter, Depends(_wanted)]


@router.post("", status_code=202, responses=tagged(202), openapi_extra=NEW_BODY)
@documented(*_CHANGING, DuplicateDocument, TooManyDocuments)
async def upload(
    received: NewUpload, caller: Caller, use: UseCases, response: Response, force: Force = "false"
) -> StoredDocumentAnswer:
    """Upload a document, as a form with a file or as text in JSON.

    The text is extracted in the background: `status` becomes `ready` when the document can be
    searched, or `failed` with a `reason`.
    """
    stored = await use.document_uploads.add(
        caller, received.new, received.upload, force=force == "true"
    )
    tag(response, stored.document.metadata)
    return StoredDocumentAnswer.stored(stored)


@router.get("")
@documented(Forbidden, InvalidInput)
async def page(
    caller: Caller, use: UseCases, wanted: Wanted, limit: Limit = 50, after: After = None
) -> DocumentsAnswer:
    """List the documents that the caller may read, newest first."""
    found = await use.documents.page(caller, wanted, limit=limit, after=read_text_cursor(after))
    return DocumentsAnswer.of(found)


@router.get("/{document_id}", responses=tagged())
@documented(Forbidden)
async def read(
    caller: Caller, document_id: PathDocumentId, use: UseCases, response: Response
) -> DocumentAnswer:
    """Return the metadata of a document."""
    document = await use.documents.read(caller, document_id)
    tag(response, document.metadata)
    return DocumentAnswer.of(document)


@router.get("/{document_id}/content", response_class=Response, responses={200: CONTENT})
@documented(Forbidden, AuditUnavailable)
async def content(
    caller: Caller, document_id: PathDocumentId, use: UseCases, version: Number = None
) -> Response:
    """Return the file of a document, as it was uploaded."""
    return await file_stream(await use.documents.content(caller, document_id, version))


@router.patch("/{document_id}", responses=tagged())
@documented(*_CHANGING)
async def change(
    body: DocumentChangeBody,
    caller: Caller,
    document_id: PathDocumentId,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> StoredDocumentAnswer:
    """Change title, access or labels; access changes apply from the next request on."""
    stored = await use.documents.change(caller, document_id, body.to_change(), expected=expected)
    tag(response, stored.document.metadata)
    return StoredDocumentAnswer.stored(stored)


@router.put(
    "/{document_id}/content", status_code=202, responses=tagged(202), openapi_extra=CONTENT_BODY
)
@documented(*_CHANGING, TooManyDocuments)
async def replace(
    received: NewContent,
    caller: Caller,
    document_id: PathDocumentId,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> StoredDocumentAnswer:
    """Upload a new version; the previous one is used until the new one is ready.

    A body that is neither a form nor JSON is taken as the file itself.
    """
    stored = await use.document_uploads.replace(caller, document_id, received, expected=expected)
    tag(response, stored.document.metadata)
    return StoredDocumentAnswer.stored(stored)


@router.delete("/{document_id}")
@documented(*_CHANGING)
async def delete(
    caller: Caller, document_id: PathDocumentId, expected: IfMatch, use: UseCases
) -> DeletedDocumentAnswer:
    """Delete a document with its versions, passages and index entries."""
    await use.documents.delete(caller, document_id, expected=expected)
    return DeletedDocumentAnswer(id=document_id)
