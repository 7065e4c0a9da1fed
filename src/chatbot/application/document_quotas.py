"""Quotas on the number and size of documents."""

from datetime import datetime, timedelta

from chatbot.domain.documents import owner_atom
from chatbot.domain.errors import TooManyDocuments
from chatbot.domain.identity import Principal
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

_MEASURED_FOR = timedelta(minutes=1)


class DocumentQuotas:
    """Enforces the quotas on uploads.

    Args:
        per_uploader: the maximum number of documents of a person or an application.
        total_bytes: the maximum size of all documents together. The size is measured once a minute,
            and what this process has stored since then is added.
    """

    def __init__(
        self, storage: Storage, *, per_uploader: int, total_bytes: int, clock: Clock
    ) -> None:
        self._storage, self._clock = storage, clock
        self._per_uploader, self._total_bytes = per_uploader, total_bytes
        self._measured_at: datetime | None = None
        self._bytes = 0

    async def require_bytes(self) -> None:
        """Check that the space for documents is not used up.

        The size of the file does not matter: otherwise, refusals would reveal how many bytes all
        documents have, including those that the caller may not read.

        Raises:
            TooManyDocuments: it is used up.
        """
        now = self._clock()
        if self._measured_at is None or not now - self._measured_at < _MEASURED_FOR:
            self._bytes = await self._storage.transact(lambda tx: tx.blobs.size("documents"))
            self._measured_at = now
        if self._bytes >= self._total_bytes:
            raise TooManyDocuments(
                "The storage space for documents is used up (MAX_DOCUMENT_BYTES_TOTAL)."
            )

    def note(self, size: int) -> None:
        """Count what was stored."""
        self._bytes += size

    def require_room(self, tx: Transaction, principal: Principal) -> None:
        """Check that the caller may upload another document. Commands on the host always may.

        Raises:
            TooManyDocuments: the caller has reached the limit.
        """
        if principal.source.cli_user:
            return
        if tx.documents.count_of(owner_atom(principal.owner)) >= self._per_uploader:
            raise TooManyDocuments(
                f"You have reached the limit of {self._per_uploader} documents: delete some first."
            )
