"""Permissions on documents, and the validation of access rules."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime

from chatbot.domain.authorization import require_any
from chatbot.domain.document_ids import is_document_id
from chatbot.domain.documents import (
    Access,
    Document,
    DocumentId,
    atoms_of,
    is_readable,
    may_change,
    owner_atom,
)
from chatbot.domain.errors import Forbidden, InvalidInput, NotFound
from chatbot.domain.identity import MAX_ID_CHARS, Principal, UserId
from chatbot.domain.names import (
    MAX_DEPARTMENT_CHARS,
    MAX_ROLE_NAME_CHARS,
    clean_department,
    department_key,
)
from chatbot.domain.permissions import Permission
from chatbot.domain.repositories.users import UserFilter
from chatbot.domain.text import is_storable
from chatbot.domain.transaction import Transaction

MAX_ENTRIES = 100
NO_DOCUMENT = "The document does not exist."
NO_READERS = (
    "No active user except the uploader currently matches this access rule. People who manage documents "
    "can still read the document."
)


def require_reading(principal: Principal) -> frozenset[str]:
    """Return the atoms of a caller who may read documents.

    Raises:
        Forbidden: the caller may not.
    """
    require_any(principal, Permission.DOCUMENTS_READ, Permission.DOCUMENTS_MANAGE)
    return atoms_of(principal)


def readable(tx: Transaction, principal: Principal, document_id: str) -> Document:
    """Return a document.

    Raises:
        Forbidden: the caller may not read any documents.
        NotFound: the document does not exist, or the caller may not read it: the response is the same.
    """
    atoms = require_reading(principal)
    known = tx.documents.get(DocumentId(document_id)) if is_document_id(document_id) else None
    if known is None or not is_readable(known, atoms):
        raise NotFound(NO_DOCUMENT)
    return known


def changeable(tx: Transaction, principal: Principal, document_id: str) -> Document:
    """Return a document that the caller may change and delete.

    Raises:
        NotFound: as `readable`.
        Forbidden: also if the caller may only read it.
    """
    document = readable(tx, principal, document_id)
    if not may_change(principal, document):
        raise Forbidden(
            "You are not allowed to do this: only the uploader and people who manage the documents "
            "of its department can change a document."
        )
    return document


def clean_access(tx: Transaction, principal: Principal, raw: Access) -> Access:
    """Return a rule in its stored form: sorted, without duplicates, people by their ids.

    Callers who may read a user may also name that person by e-mail address.

    Raises:
        InvalidInput: an entry is not a valid name, or there are too many.
    """
    by_key = {department_key(each): each for each in map(_department, raw.departments)}
    roles = {_name(each, "roles", MAX_ROLE_NAME_CHARS) for each in raw.roles}
    users = {_person(tx, principal, each) for each in raw.users}
    for field, entries in (("departments", by_key), ("roles", roles), ("users", users)):
        if len(entries) > MAX_ENTRIES:
            raise InvalidInput(
                f"The list can have at most {MAX_ENTRIES} entries.", where=("access", field)
            )
    return Access(
        public=raw.public,
        departments=tuple(by_key[key] for key in sorted(by_key)),
        roles=tuple(sorted(roles)),
        users=tuple(sorted(users)),
    )


def _department(raw: str) -> str:
    if len(raw) > 4 * MAX_DEPARTMENT_CHARS or not is_storable(raw):
        raise InvalidInput("This is not a valid department name.", where=("access", "departments"))
    return clean_department(raw)


def _name(raw: str, field: str, most: int) -> str:
    name = unicodedata.normalize("NFC", raw).strip()
    if not (name.isprintable() and is_storable(name) and 0 < len(name) <= most):
        raise InvalidInput(
            f"Each entry must have 1 to {most} printable characters.", where=("access", field)
        )
    return name


def _person(tx: Transaction, principal: Principal, raw: str) -> str:
    if "@" in raw and Permission.USERS_READ in principal.permissions:
        user = tx.users.by_email(raw.strip().lower())
        only = principal.department_for(Permission.USERS_READ)
        is_known = user is not None and (
            only is None or department_key(only) == user.department_key
        )
        if user is not None and is_known:
            return user.id
    return _name(raw, "users", MAX_ID_CHARS)


def require_sharing(principal: Principal, access: Access, *, is_for_managers: bool) -> None:
    """Check that the caller may share a document with these readers.

    Raises:
        Forbidden: only those who manage documents may share them, and the caller does not manage
            those of everyone who could read it.
    """
    if not is_for_managers or not access.is_shared(owner_atom(principal.owner)):
        return
    if Permission.DOCUMENTS_MANAGE in principal.permissions:
        only = principal.department_for(Permission.DOCUMENTS_MANAGE)
        if only is None:
            return
        own = {department_key(only)}
        is_wider = access.public or access.roles or access.users
        if not is_wider and {department_key(each) for each in access.departments} <= own:
            return
    raise Forbidden(
        "You are not allowed to share documents like this: sharing requires `documents.manage`."
    )


def matches_nobody(tx: Transaction, document: Document, now: datetime) -> bool:
    """Whether the rule has entries, but no active user except the uploader matches any of them."""
    access, uploader = document.access, document.uploaded_by
    if access.public or not (access.departments or access.roles or access.users):
        return False
    filters = [
        *(UserFilter(department=each, is_active_at=(True, now)) for each in access.departments),
        *(UserFilter(role=each, is_active_at=(True, now)) for each in access.roles),
    ]
    groups: Iterable[Sequence[str]] = (
        [user.id for user in tx.users.page(wanted, limit=2)] for wanted in filters
    )
    if any(f"user:{each}" != uploader for group in groups for each in group):
        return False
    people = (tx.users.by_id(UserId(each)) for each in access.users)
    return not any(
        user is not None and user.is_active_at(now) and f"user:{user.id}" != uploader
        for user in people
    )
