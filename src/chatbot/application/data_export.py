"""Everything that is stored about a person, read piece by piece."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from chatbot.application.auditing import Auditing
from chatbot.application.document_files import parts_of
from chatbot.application.transcripts import Transcript, transcript_of
from chatbot.application.usage import UsageReport, UsageReports
from chatbot.domain.access import Access, AccessKind, access_id, label_of
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.authorization import is_within_reach, require
from chatbot.domain.chat import Session, SessionCursor, SessionId
from chatbot.domain.documents import Document, Version, owner_atom
from chatbot.domain.errors import Forbidden, NotFound, Unauthenticated
from chatbot.domain.identity import MAX_ID_CHARS, Owner, Principal, User, UserId
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import clean_reason
from chatbot.domain.text import is_storable
from chatbot.domain.transaction import Transaction

_DOCUMENTS = frozenset({Permission.DOCUMENTS_READ, Permission.DOCUMENTS_MANAGE})
_SESSIONS_AT_ONCE, _ACCESSES_AT_ONCE, _DOCUMENTS_AT_ONCE = 100, 500, 100


@dataclass(frozen=True, slots=True)
class PersonalData:
    """All data about a user that the reader may see. Each part is read when it is requested."""

    user: User
    _reader: Principal
    _storage: Storage
    _usage: UsageReports

    @property
    def _owner(self) -> Owner:
        return Owner(kind="user", id=self.user.id)

    async def sessions(self) -> AsyncGenerator[Session]:
        """Yield each session once; may include sessions that are deleted in the meantime."""
        seen, after = set[SessionId](), None
        while page := await self._page(after):
            for session in page:
                if session.id not in seen:
                    seen.add(session.id)
                    yield session
            after = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)

    async def _page(self, after: SessionCursor | None) -> Sequence[Session]:
        return await self._storage.transact(
            lambda tx: tx.sessions.page(self._owner, limit=_SESSIONS_AT_ONCE, after=after)
        )

    async def transcript(self, session_id: SessionId) -> Transcript | None:
        """Return a session with its messages; None if it was deleted in the meantime."""
        try:
            return await transcript_of(self._storage, self._reader, self._owner, session_id)
        except NotFound:
            return None

    async def memory(self) -> PersonMemory:
        """Return what is remembered of the user."""
        return await self._storage.transact(lambda tx: tx.person_memories.of(self._owner))

    async def documents(self) -> AsyncGenerator[Document]:
        """Yield the documents that the user has uploaded."""
        after = ""
        while page := await self._documents_after(after):
            for document in page:
                yield document
            after = page[-1].id

    async def _documents_after(self, after: str) -> Sequence[Document]:
        uploader = owner_atom(self._owner)
        return await self._storage.transact(
            lambda tx: tx.documents.uploaded_by(uploader, after=after, limit=_DOCUMENTS_AT_ONCE)
        )

    def content(self, document: Document, version: Version) -> AsyncGenerator[bytes]:
        """Yield the bytes of a version; ends early if the version is deleted in the meantime."""
        return parts_of(self._storage, document.id, version.number)

    async def usage(self) -> UsageReport:
        """Return the usage of the user, by day."""
        return await self._usage.of_person(self.user.id)

    async def accesses(self) -> AsyncGenerator[Sequence[Access]]:
        """Yield the accesses of others to the user's data, newest first."""
        after = ""
        while page := await self._accesses_after(after):
            yield page
            after = page[-1].id

    async def _accesses_after(self, after: str) -> Sequence[Access]:
        return await self._storage.transact(
            lambda tx: tx.accesses.of(self.user.id, limit=_ACCESSES_AT_ONCE, after=after)
        )


class DataExport:
    """Exports the data of a person, and records it in the audit.

    Raises:
        AuditUnavailable: it cannot be recorded.
    """

    def __init__(
        self,
        storage: Storage,
        auditing: Auditing,
        usage: UsageReports,
        *,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._storage, self._auditing, self._usage = storage, auditing, usage
        self._clock, self._new_id = clock, new_id

    async def own(self, principal: Principal) -> PersonalData:
        """Return the caller's own data.

        Raises:
            Forbidden: an application calls for them whose key may not read all of it.
        """
        user = principal.user
        if user is None:
            raise Unauthenticated("This call requires a user: log in first.")
        scopes = principal.client.user_permissions

        def begun(tx: Transaction) -> None:
            has_documents = tx.documents.count_of(owner_atom(principal.owner)) > 0
            if Permission.CHAT not in scopes or (has_documents and not scopes & _DOCUMENTS):
                raise Forbidden("The key of the application does not permit all of the data.")
            self._auditing.note(tx, principal, _event_of(user.id))

        await self._storage.transact(begun)
        return PersonalData(user, principal, self._storage, self._usage)

    async def of(self, principal: Principal, user_id: str, reason: str | None) -> PersonalData:
        """Return the data of any user, who can see that it was exported.

        Because it contains conversations, this also requires the permission to read conversations
        of others.

        Raises:
            Forbidden: the caller lacks a permission.
            InvalidInput: the reason is too short or too long.
            NotFound: no such user, or the permission does not apply to their department.
        """
        require(principal, Permission.USERS_READ)
        require(principal, Permission.SESSIONS_READ_ANY)
        clean = None if reason is None else clean_reason(reason)
        if len(user_id) > MAX_ID_CHARS or not is_storable(user_id):
            raise NotFound("The user does not exist.")

        def begun(tx: Transaction) -> User:
            user = tx.users.by_id(UserId(user_id))
            if user is None or not is_within_reach(
                principal, Permission.USERS_READ, user.department
            ):
                raise NotFound("The user does not exist.")
            with self._auditing.recording(tx, principal, _event_of(user.id, clean)):
                tx.accesses.add(self._access(principal, user.id, clean))
            return user

        user = await self._storage.transact(begun)
        return PersonalData(user, principal, self._storage, self._usage)

    def _access(self, principal: Principal, user_id: UserId, reason: str | None) -> Access:
        at = self._clock()
        return Access(
            id=access_id(at, self._new_id()),
            user_id=user_id,
            action=AccessKind.EXPORT,
            at=at,
            by=label_of(principal),
            reason=reason or "",
        )


def _event_of(user_id: UserId, reason: str | None = None) -> AuditEvent:
    return AuditEvent(
        action=Action.USER_EXPORT, object_type="user", object_id=user_id, reason=reason
    )
