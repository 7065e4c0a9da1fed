"""The port to all data of a store: for copying, importing and backups.

It is the only port without an owner in its signatures. Only commands on the host use it; no route
does. It is synchronous, because a command works sequentially.
"""

from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, Self

from chatbot.domain.chat import Message, Session, SessionId
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.journal import Journal, JournalEntry, JournalKind, copy_entries
from chatbot.domain.ports.records import AnyKind, Kind, Record, Records
from chatbot.domain.transaction import JOURNALS, KINDS

FIRST_DATE = datetime(1970, 1, 1, tzinfo=UTC)
LAST_DATE = datetime(2200, 1, 1, tzinfo=UTC)
"""Between these a file's time, by which JSON files order sessions, is kept by ext4, xfs, btrfs, APFS
and NTFS. Dates of messages are text and have no such bounds."""

MAX_SEQ, MAX_VERSION = 10**15, 10**9
"""Half of what a JSON reader and a database's column hold, for a session goes on counting."""


def name_of_session(owner: Owner, session_id: SessionId) -> str:
    """The name to display."""
    return f"session {session_id} of {owner.kind} {owner.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A session with all that belongs to it, as it was at one moment; messages ascend by `seq`."""

    session: Session
    messages: tuple[Message, ...]
    memory: Memory

    def is_complete(self) -> bool:
        """Whether it has all messages that its session counts since the last reset."""
        first = self.session.last_seq - self.session.message_count + 1
        is_complete = first >= 1 and len(self.messages) == self.session.message_count
        return is_complete and all(
            message.seq == number for number, message in enumerate(self.messages, first)
        )

    def kept(self) -> "Conversation":
        """Return the conversation with session dates that every file system can store."""
        session = self.session
        updated_at = min(max(session.updated_at, FIRST_DATE), LAST_DATE)
        if updated_at == session.updated_at:
            return self
        return replace(self, session=replace(session, updated_at=updated_at))

    def is_within_bounds(self) -> bool:
        """Whether every number is small enough for all stores to continue counting from it."""
        session, memory = self.session, self.memory
        last_seqs = (session.last_seq, memory.summarized_to, memory.extracted_to)
        versions = (session.epoch, session.message_count, memory.version)
        return max(last_seqs) <= MAX_SEQ and max(versions) <= MAX_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A damaged item. `reason` quotes none of its content."""

    name: str
    reason: str
    seq: int | None = None
    """The number of an entry of a journal, as far as it is known."""


Item = object
"""A record of one of the kinds, a `Blob`, a `Conversation` or a `JournalEntry`."""

_KIND_BY_TYPE: Mapping[type, AnyKind] = {kind.type: kind for kind in KINDS}
JOURNAL_BY_NAME: Mapping[str, JournalKind] = {journal.name: journal for journal in JOURNALS}


def kind_of(record: object) -> AnyKind:
    """Return the kind of a record."""
    return _KIND_BY_TYPE[type(record)]


def name_of_entry(journal: str, seq: int) -> str:
    return f"entry {seq} of journal {journal}"


def name_of_blob(name: str) -> str:
    return f"file {name}"


def name_of(item: Item) -> str:
    """The name to display, which never contains the e-mail address, because it appears in logs."""
    if isinstance(item, Conversation):
        return name_of_session(item.session.owner, item.session.id)
    if isinstance(item, JournalEntry):
        return name_of_entry(item.journal, item.seq)
    if isinstance(item, Blob):
        return name_of_blob(item.name)
    return kind_of(item).label(item)


@dataclass(frozen=True, slots=True)
class Change:
    """An item that is to replace `over`, which `find` returned."""

    item: Item
    over: Item | None


def stored_record(records: Records, kind: Kind[Record], record: Record) -> Record | None:
    """Return the record with the same key, else the one with the same value of a unique field."""
    found = records.get(kind, *kind.key_of(record))
    for field in kind.unique:
        found = found or records.find(kind, field, getattr(record, field))
    return found


def stored_entry(entry: JournalEntry, target: Journal) -> JournalEntry | None:
    """Return the entry with the same number in the same journal."""
    journal = JOURNAL_BY_NAME[entry.journal]
    found = target.read(journal, after=entry.seq - 1, limit=1)
    return found[0] if found and found[0].seq == entry.seq else None


def put_entries(changes: Iterable[Change], target: Journal) -> None:
    """Append the entries among the changes to their journals.

    Raises:
        Conflict: they do not follow the last one of their journal.
    """
    entries = [change.item for change in changes if isinstance(change.item, JournalEntry)]
    for name, journal in JOURNAL_BY_NAME.items():
        copy_entries([entry for entry in entries if entry.journal == name], journal, target)


class StoreExport(Protocol):
    """Read access to all data of a store.

    Used inside `with`; constructing does no I/O. Reading does not change the store.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """By default, nothing is kept open."""
        return

    @abstractmethod
    def items(self) -> Generator[Item | Unreadable]:
        """Yield everything: the records of each of `KINDS`, the blobs, the conversations, the
        entries of `JOURNALS`.

        May be called while the store is in use. Each item is complete and as of one moment.

        Raises:
            StorageUnavailable: it cannot be read at all.
        """

    @abstractmethod
    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        """Which conversations there are."""


class ExportTarget(StoreExport, Protocol):
    """Read and write access to all data of a store."""

    @abstractmethod
    def entries(self, journal: JournalKind) -> Iterator[JournalEntry | Unreadable]:
        """Yield the stored entries of a journal, including damaged ones."""

    @abstractmethod
    def hidden_entries(self, journal: JournalKind, /) -> Iterator[int]:
        """Yield the numbers of entries that `Journal.find` may miss, since an index was changed.

        The entries themselves have been checked and can be read.
        """

    @abstractmethod
    def find(self, item: Item) -> Item | None:
        """Return the stored item in this item's place, if any.

        That is the record with its key, else with the value of a unique field, the blob with its
        name, the conversation with its owner and id, or the journal's entry with its number. A
        store that was never created has only its initial records.

        Raises:
            Conflict: the stored item is damaged.
        """

    @abstractmethod
    def put(self, changes: Sequence[Change]) -> None:
        """Store items: the records of a kind all or none, a conversation completely or not at all.

        They are durable when this returns. The store is created if it does not exist.

        Raises:
            Conflict: what is stored differs, the value of a unique field is in use, or the entry
                does not follow the last one of its journal.
            SessionBusy: a turn or another change holds the session.
        """

    @abstractmethod
    def remove(self, owner: Owner, session_id: SessionId) -> None:
        """Remove a conversation; no-op if absent.

        Raises:
            SessionBusy: a turn or another change has the session's lease.
            SessionHeld: the session must be kept.
        """
