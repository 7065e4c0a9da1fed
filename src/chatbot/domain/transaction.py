"""The repositories of a transaction. This is the only place that lists them."""

from collections.abc import Callable

from chatbot.domain.audit import AUDIT, OPERATIONS
from chatbot.domain.person_memory import MEMORY_ON, MemorySettings
from chatbot.domain.ports.blobs import Blobs
from chatbot.domain.ports.counters import Bill, Counters
from chatbot.domain.ports.journal import Journal, JournalKind
from chatbot.domain.ports.records import AnyKind, Records
from chatbot.domain.ports.search import SearchIndex
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.repositories.accesses import ACCESSES, Accesses
from chatbot.domain.repositories.api_keys import API_KEYS, ApiKeyRepository
from chatbot.domain.repositories.attempts import AttemptRepository
from chatbot.domain.repositories.documents import DOCUMENT_JOBS, DOCUMENTS, Documents
from chatbot.domain.repositories.erasures import ERASURES, Erasures
from chatbot.domain.repositories.last_logins import LAST_LOGINS, LastLogins
from chatbot.domain.repositories.limits import LIMITS, LimitRecords
from chatbot.domain.repositories.person_memories import PERSON_MEMORIES, PersonMemories
from chatbot.domain.repositories.refresh_families import REFRESH_FAMILIES, RefreshFamilies
from chatbot.domain.repositories.retention_runs import RETENTION_RUNS, RetentionRuns
from chatbot.domain.repositories.roles import ROLES, Roles
from chatbot.domain.repositories.users import USERS, Users

KINDS: tuple[AnyKind, ...] = (
    ROLES,
    USERS,
    API_KEYS,
    LIMITS,
    REFRESH_FAMILIES,
    LAST_LOGINS,
    ACCESSES,
    PERSON_MEMORIES,
    ERASURES,
    RETENTION_RUNS,
    DOCUMENTS,
    DOCUMENT_JOBS,
)
"""All kinds of records, in the order in which they are copied."""

JOURNALS: tuple[JournalKind, ...] = (AUDIT,)
"""The journals that are exported, backed up and restored."""

ALL_JOURNALS: tuple[JournalKind, ...] = (*JOURNALS, OPERATIONS)


class Transaction:
    """The repositories of one transaction.

    `is_atomic`: an exception undoes all that was written. Otherwise each write is atomic by itself
    and stays. `memory_default`: the settings of people who have not chosen any. `on_commit`: called in the committing thread once the writes are durable; not if they
    were undone.
    """

    def __init__(
        self,
        *,
        sessions: SessionLog,
        records: Records,
        counters: Counters,
        journal: Journal,
        blobs: Blobs,
        index: SearchIndex,
        is_atomic: bool,
        on_commit: list[Callable[[], None]],
        memory_default: MemorySettings = MEMORY_ON,
    ) -> None:
        self.is_atomic = is_atomic
        self.on_commit = on_commit
        self.sessions, self.records = sessions, records
        self.counters, self.journal = counters, journal
        self.blobs = blobs
        self.index = index
        self.api_keys = ApiKeyRepository(records)
        self.accesses = Accesses(records)
        self.attempts = AttemptRepository(counters)
        self.documents = Documents(records, blobs)
        self.erasures = Erasures(records)
        self.last_logins = LastLogins(records)
        self.person_memories = PersonMemories(records, sessions, memory_default)
        self.refresh_families = RefreshFamilies(records)
        self.limits = LimitRecords(records)
        self.retention_runs = RetentionRuns(records)
        self.roles = Roles(records)
        self.users = Users(records)

    def settle(self, bill: Bill | None) -> None:
        """Replace the reserved amounts by the used ones."""
        if bill is not None:
            self.counters.settle(bill.reserved, bill.used, now=bill.at)
