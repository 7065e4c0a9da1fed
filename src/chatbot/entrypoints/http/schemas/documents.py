"""Schemas of documents."""

from typing import Literal, Self

from pydantic import Field

from chatbot.application.document_files import StoredDocument
from chatbot.application.document_rules import NO_READERS
from chatbot.application.documents import DocumentChange, DocumentPage
from chatbot.domain.documents import ERASED_UPLOADER, Access, Document
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http.cursor import write_text_cursor
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    UPDATED_AT,
    Answer,
    Body,
    Json,
    example,
    is_none,
)
from chatbot.entrypoints.http.schemas.users import USER_ID

DOCUMENT_ID = "fffab3c1d2e4f5060123456789abcdef"
_LONGEST = 1000
_ACCESS: Json = {"departments": ["Sales"], "users": [USER_ID]}
_SHOWN_ACCESS: Json = {"public": False, "departments": ["Sales"], "roles": [], "users": [USER_ID]}
_DOCUMENT: Json = {
    "id": DOCUMENT_ID,
    "title": "Expenses",
    "media_type": "application/pdf",
    "size": 48213,
    "version": 2,
    "answering_version": 2,
    "status": "ready",
    "access": _SHOWN_ACCESS,
    "labels": ["policies"],
    "uploaded_by": USER_ID,
    "created_at": CREATED_AT,
    "updated_at": UPDATED_AT,
    "passages": 31,
}


class AccessBody(Body):
    """Who may read a document: every caller who matches at least one entry."""

    model_config = example(_ACCESS)

    public: bool = Field(
        default=False, description="Whether everyone with `documents.read` may read it."
    )
    departments: list[str] = Field(
        default=[], max_length=_LONGEST, description="Departments whose people may read it."
    )
    roles: list[str] = Field(
        default=[], max_length=_LONGEST, description="Names of the roles whose holders may read it."
    )
    users: list[str] = Field(
        default=[],
        max_length=_LONGEST,
        description="Ids of the users who may read it. Callers with `users.read` may also use e-mail "
        "addresses.",
    )

    def to_access(self) -> Access:
        return Access(
            public=self.public,
            departments=tuple(self.departments),
            roles=tuple(self.roles),
            users=tuple(self.users),
        )


class AccessAnswer(Answer):
    model_config = example(_SHOWN_ACCESS)

    public: bool = Field(description="Whether everyone with `documents.read` may read it.")
    departments: list[str] = Field(description="Departments whose people may read it.")
    roles: list[str] = Field(description="Names of the roles whose holders may read it.")
    users: list[str] = Field(description="Ids of the users who may read it.")


class DocumentBody(Body):
    """A new document, sent as text."""

    model_config = example(
        {
            "title": "Expenses",
            "text": "# Travel\n\nReceipts are due within 30 days.",
            "media_type": "text/markdown",
            "access": _ACCESS,
            "labels": ["policies"],
        }
    )

    title: str = Field(max_length=_LONGEST, description="The title: 1 to 200 characters.")
    text: str = Field(description="The text of the document.")
    media_type: str = Field(
        default="text/plain", max_length=200, description="The media type, such as `text/markdown`."
    )
    access: AccessBody = Field(
        default=AccessBody(),
        description="Who may read it. Default: only the uploader and people who manage documents.",
    )
    labels: list[str] = Field(
        default=[],
        max_length=_LONGEST,
        description="At most 20 labels, by which documents can be filtered.",
    )


class TextBody(Body):
    """A new version, sent as text."""

    model_config = example(
        {"text": "# Travel\n\nReceipts are due within 60 days.", "media_type": "text/markdown"}
    )

    text: str = Field(description="The text of the document.")
    media_type: str = Field(
        default="",
        max_length=200,
        description="The media type, such as `text/markdown`. Default: the one of the document if it is "
        "a text format, else `text/plain`.",
    )


class DocumentChangeBody(Body):
    """Fields that are left out stay unchanged."""

    model_config = example({"title": "Travel expenses", "access": _ACCESS, "labels": ["policies"]})

    title: str = Field(
        default="", max_length=_LONGEST, description="The title: 1 to 200 characters."
    )
    access: AccessBody = Field(
        default=AccessBody(), description="The new access rule. Replaces the whole previous one."
    )
    labels: list[str] = Field(
        default=[], max_length=_LONGEST, description="The new labels. Replace all previous ones."
    )

    def to_change(self) -> DocumentChange:
        given = self.model_fields_set
        return DocumentChange(
            title=self.title if "title" in given else None,
            access=self.access.to_access() if "access" in given else None,
            labels=self.labels if "labels" in given else None,
        )


class DocumentInfo(Answer):
    model_config = example(_DOCUMENT)

    id: str = Field(description="The id of the document.")
    title: str = Field(
        description="The title: the one that was set, or the title in the file, or the file name."
    )
    media_type: str = Field(description="The media type of the newest version.")
    size: int = Field(description="The size of the newest version, in bytes.")
    version: int = Field(description="The number of the newest version, starting at 1.")
    answering_version: int | None = Field(
        description="The version that is searched and quoted; null until one is ready."
    )
    status: Literal["queued", "processing", "ready", "failed"] = Field(
        description="The state of the newest version."
    )
    reason: str | None = Field(
        default=None, exclude_if=is_none, description="Why the newest version failed."
    )
    access: AccessAnswer = Field(description="Who may read it.")
    labels: list[str] = Field(description="The labels, in lower case.")
    uploaded_by: str = Field(
        description="Who uploaded it: the id of the user, `application <id>` for a call without a user, or "
        "`erased` if the user was erased."
    )
    created_at: str = Field(description="When it was uploaded (RFC 3339, UTC).")
    updated_at: str = Field(description="When it was last changed (RFC 3339, UTC).")
    passages: int = Field(description="The number of passages of `answering_version`.")

    @classmethod
    def of(cls, document: Document) -> Self:
        live, newest = document.live, document.newest
        return cls(
            id=document.id,
            title=document.title,
            media_type=newest.media_type,
            size=newest.size,
            version=newest.number,
            answering_version=None if live is None else live.number,
            status=document.status.value,
            reason=document.reason or None,
            access=AccessAnswer.model_validate(document.access),
            labels=list(document.labels),
            uploaded_by=_uploader(document.uploaded_by),
            created_at=rfc3339(document.created_at),
            updated_at=rfc3339(document.updated_at),
            passages=0 if live is None else live.passages,
        )


def _uploader(uploaded_by: str) -> str:
    kind, _, owner_id = uploaded_by.partition(":")
    if uploaded_by == ERASED_UPLOADER:
        return "erased"
    return owner_id if kind == "user" else f"application {owner_id}"


class DocumentAnswer(Answer):
    model_config = example({"document": _DOCUMENT})

    document: DocumentInfo = Field(description="The document.")

    @classmethod
    def of(cls, document: Document) -> Self:
        return cls(document=DocumentInfo.of(document))


class StoredDocumentAnswer(DocumentAnswer):
    notice: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Present if the access rule currently matches no active user except the uploader.",
    )

    @classmethod
    def stored(cls, stored: StoredDocument) -> Self:
        notice = NO_READERS if stored.has_no_readers else None
        return cls(document=DocumentInfo.of(stored.document), notice=notice)


class DocumentsAnswer(Answer):
    model_config = example({"documents": [_DOCUMENT], "next": "ZmZmYWIz"})

    documents: list[DocumentInfo] = Field(description="A page of documents, newest first.")
    next: str | None = Field(
        description="Opaque: send it as `after` to get the next page. Null on the last page."
    )

    @classmethod
    def of(cls, page: DocumentPage) -> Self:
        documents = [DocumentInfo.of(each) for each in page.documents]
        return cls(documents=documents, next=write_text_cursor(page.next))


class DeletedDocumentAnswer(Answer):
    model_config = example({"id": DOCUMENT_ID, "deleted": True})

    id: str = Field(description="The id of the document.")
    deleted: bool = Field(default=True, description="Always true.")
