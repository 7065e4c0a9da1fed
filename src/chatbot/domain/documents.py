"""Documents, their versions, and who may read them.

Who may read is a set of *atoms*, such as `public`, `department:sales` or `user:<id>`: a caller may
read a document if one of the caller's atoms is in its audience. Nothing else is compared.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from chatbot.domain.authorization import is_within_reach
from chatbot.domain.canonical_json import canonical_json
from chatbot.domain.errors import InvalidInput
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.names import department_key
from chatbot.domain.permissions import Permission
from chatbot.domain.search import Scope
from chatbot.domain.stored import Stored

DocumentId = NewType("DocumentId", str)

MAX_LABELS, MAX_LABEL_CHARS = 20, 50
MAX_OLDER_VERSIONS = 10
"""Versions that have answered before and are kept, for the answers that cite them."""
PUBLIC, MANAGERS = "public", "managers"
ERASED_UPLOADER = ""
"""The uploader of a document that was shared and whose uploader has been erased."""


class Status(StrEnum):
    """The state of the newest version."""

    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may read a document: every caller who matches at least one entry.

    Without entries, only the uploader and callers who manage documents.
    """

    public: bool = False
    departments: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def is_shared(self, uploaded_by: str) -> bool:
        """Whether it admits anyone except the uploader."""
        others = [each for each in self.users if f"user:{each}" != uploaded_by]
        return self.public or bool(self.departments or self.roles or others)

    def admits_as(self, other: "Access") -> bool:
        """Whether both rules admit the same callers, however departments are spelled."""
        return audience_of(self, ERASED_UPLOADER, "") == audience_of(other, ERASED_UPLOADER, "")

    def without_user(self, user_id: str) -> "Access":
        """Return the rule without this person."""
        users = tuple(each for each in self.users if each != user_id)
        return Access(
            public=self.public, departments=self.departments, roles=self.roles, users=users
        )

    def __str__(self) -> str:
        """Describe the rule for the audit, without the ids of people."""
        parts = ["public"] if self.public else []
        parts += [f"department {each}" for each in self.departments]
        parts += [f"role {each}" for each in self.roles]
        parts += [f"{len(self.users)} users"] if self.users else []
        return ", ".join(parts) or "private"


PRIVATE = Access()
"""Only the uploader may read the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a document. `digest` is the SHA-256 of its bytes, in hexadecimal digits.

    `name` is that of the file; `passages` counts them once they are stored.
    """

    number: int
    media_type: str
    size: int
    digest: str
    name: str = ""
    passages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentMetadata:
    """The fields of a document that people change, as opposed to those that an extraction changes."""

    id: DocumentId
    title: str
    access: Access
    labels: tuple[str, ...]
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document.

    `newest` is the version that was uploaded last, and `status` its state; `reason` says why it
    failed. `live` is the version that is searched, None until one is ready; `older` are former live
    versions. `department` is that of the uploader at the time of the upload, whose administrators
    manage the document. `scope` is the access class: see `scope_of`. `source` is the path of the
    file from which `chatbot ingest` maintains the document; empty for other uploads.
    """

    id: DocumentId
    title: str
    is_title_given: bool = False
    access: Access = PRIVATE
    labels: tuple[str, ...] = ()
    scope: Scope
    uploaded_by: str = field(default=ERASED_UPLOADER, metadata=Stored(default="").metadata())
    department: str = ""
    digest: str
    created_at: datetime
    updated_at: datetime
    status: Status = Status.QUEUED
    reason: str = ""
    newest: Version
    live: Version | None = None
    older: tuple[Version, ...] = ()
    source: str = ""

    @property
    def outlived(self) -> tuple[Version, ...]:
        """The older versions that are not kept once the newest one answers."""
        before = self.older if self.live is None else (*self.older, self.live)
        return before[: max(0, len(before) - MAX_OLDER_VERSIONS)]

    @property
    def metadata(self) -> DocumentMetadata:
        """The value that `If-Match` compares."""
        return DocumentMetadata(
            id=self.id,
            title=self.title,
            access=self.access,
            labels=self.labels,
            version=self.newest.number,
        )

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions whose bytes are stored."""
        stored = [*self.older, *([self.live] if self.live else [])]
        if self.status is not Status.FAILED and self.newest != self.live:
            stored.append(self.newest)
        return tuple(stored)

    def version(self, number: int | None) -> Version | None:
        """Return a version whose bytes are stored: by default the live one, else the newest."""
        if number is None:
            return self.live or next(iter(self.versions), None)
        return next((each for each in self.versions if each.number == number), None)


def owner_atom(owner: Owner) -> str:
    """Return the atom of one caller, which is also the stored form of the uploader."""
    return owner.key


def audience(document: Document) -> frozenset[str]:
    """Return the atoms of those who may read the document."""
    return audience_of(document.access, document.uploaded_by, document.department)


def audience_of(access: Access, uploaded_by: str, department: str) -> frozenset[str]:
    """Return the atoms of those who may read a document with this rule, uploader and department."""
    managing = [each for each in (department, *access.departments) if each]
    return frozenset(
        [
            MANAGERS,
            *(f"{MANAGERS}:{department_key(each)}" for each in managing),
            *(f"department:{department_key(each)}" for each in access.departments),
            *(f"role:{each}" for each in access.roles),
            *(f"user:{each}" for each in access.users),
            *([PUBLIC] if access.public else []),
            *([uploaded_by] if uploaded_by != ERASED_UPLOADER else []),
        ]
    )


def atoms_of(principal: Principal) -> frozenset[str]:
    """Return the atoms of a caller; none without a permission to read documents."""
    atoms: list[str] = []
    if Permission.DOCUMENTS_READ in principal.permissions:
        atoms += [PUBLIC, owner_atom(principal.owner)]
        if principal.user is not None:
            atoms += [f"role:{each}" for each in principal.user.roles]
            if principal.user.department:
                atoms.append(f"department:{principal.user.department_key}")
    if Permission.DOCUMENTS_MANAGE in principal.permissions:
        only = principal.department_for(Permission.DOCUMENTS_MANAGE)
        atoms += [PUBLIC, owner_atom(principal.owner)]
        atoms.append(MANAGERS if only is None else f"{MANAGERS}:{department_key(only)}")
    return frozenset(atoms)


def is_readable(document: Document, atoms: Collection[str]) -> bool:
    """Whether a caller with these atoms may read the document."""
    return not audience(document).isdisjoint(atoms)


def may_change(principal: Principal, document: Document) -> bool:
    """Whether the caller may change and delete a document: the uploader, and callers who manage it.

    Callers who manage one department only manage the documents that were uploaded in it.
    """
    if document.uploaded_by == owner_atom(principal.owner):
        return True
    permission = Permission.DOCUMENTS_MANAGE
    return permission in principal.permissions and is_within_reach(
        principal, permission, document.department
    )


def label_atom(label: str) -> str:
    """Return the atom of a label in an access class."""
    return f"label:{label}"


def scope_of(readers: Iterable[str], labels: Iterable[str]) -> Scope:
    """Return the access class of all documents with this audience and these labels."""
    text = canonical_json([sorted(readers), sorted(labels)])
    return Scope(f"documents {hashlib.sha256(text.encode()).hexdigest()[:32]}")


def clean_labels(raw: Iterable[str]) -> tuple[str, ...]:
    """Return labels in the form in which they are stored and compared: in lower case, sorted,
    without duplicates.

    Raises:
        InvalidInput: one is empty, too long or contains invisible characters, or there are too many.
    """
    labels = {_clean_label(each) for each in raw}
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"There can be at most {MAX_LABELS} labels.", where=("labels",))
    return tuple(sorted(labels))


def _clean_label(raw: str) -> str:
    text = unicodedata.normalize("NFC", raw[: 4 * MAX_LABEL_CHARS].casefold())
    label = re.sub(" +", " ", text).strip()
    if not (label.isprintable() and 0 < len(label) <= MAX_LABEL_CHARS):
        limit = f"1 to {MAX_LABEL_CHARS} printable characters"
        raise InvalidInput(f"A label needs {limit}.", where=("labels",))
    return label
