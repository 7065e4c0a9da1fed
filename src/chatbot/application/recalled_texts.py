"""Reads the texts of search hits for a turn, except those that may no longer be recalled."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from chatbot.application.relevance import excerpt
from chatbot.domain.chat import InterruptReason, Message, MessageRole, SessionId
from chatbot.domain.document_passages import FoundPassage
from chatbot.domain.documents import Document, DocumentId, atoms_of, is_readable
from chatbot.domain.identity import Principal
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.search import PassageKey
from chatbot.domain.ports.storage import Storage
from chatbot.domain.recall import PastMessage, RecalledPassage
from chatbot.domain.search import Hit
from chatbot.domain.transaction import Transaction

MOST_MESSAGE_CHARS = 400


class ReadablePassages:
    """Reads passages of documents for a turn, and keeps those that its answer may use."""

    def __init__(self, storage: Storage, principal: Principal, labels: Collection[str]) -> None:
        self._storage, self._principal, self._labels = storage, principal, labels
        self._found: dict[PassageKey, FoundPassage] = {}
        self._created = dict[DocumentId, datetime]()

    async def texts(self, keys: Sequence[PassageKey]) -> Mapping[PassageKey, str]:
        """Return the texts of the passages that the caller may read."""
        found = await self._storage.transact(lambda tx: self._read(tx, keys))
        self._found |= found
        return {key: each.passage.text for key, each in found.items()}

    def _read(
        self, tx: Transaction, keys: Sequence[PassageKey]
    ) -> Mapping[PassageKey, FoundPassage]:
        parents = (parent for parent, _ in keys)
        documents = readable_documents(tx, self._principal, parents, self._labels)
        self._created |= {each.id: each.created_at for each in documents.values()}
        wanted = ((DocumentId(parent), seq) for parent, seq in keys)
        found = tx.documents.passages_in(documents, wanted)
        return {(str(document_id), seq): each for (document_id, seq), each in found.items()}

    def of(self, hits: Sequence[Hit], *, most: int) -> tuple[RecalledPassage, ...]:
        """Return the passages of the first hits that were read, those with the same text once."""
        found = [each for hit in hits if (each := self._found.get((hit.parent, hit.seq)))]
        return tuple(
            RecalledPassage(
                document_id=each.document_id,
                version=each.version,
                seq=each.passage.seq,
                title=each.title,
                heading=each.passage.heading,
                text=each.passage.text,
                start=each.passage.start,
                end=each.passage.end,
                rank=rank,
            )
            for rank, each in enumerate(self._each_once(found)[:most], start=1)
        )

    def _each_once(self, found: Sequence[FoundPassage]) -> Sequence[FoundPassage]:
        """Return one passage for each heading and text: that of the document created last."""
        newest = dict[tuple[str, str], FoundPassage]()
        for each in found:
            text = (each.passage.heading, each.passage.text)
            known = newest.setdefault(text, each)
            if self._created[each.document_id] > self._created[known.document_id]:
                newest[text] = each
        return [*newest.values()]


def readable_documents(
    tx: Transaction,
    principal: Principal,
    ids: Collection[str] | Iterator[str],
    labels: Collection[str] = (),
) -> Mapping[DocumentId, Document]:
    """Return the documents that answers to the caller may use, with one of the labels if given."""
    wanted = [DocumentId(each) for each in dict.fromkeys(ids)]
    if not wanted:
        return {}
    atoms = atoms_of(principal)
    return {
        document.id: document
        for document in tx.documents.get_all(wanted).values()
        if is_readable(document, atoms)
        and (not labels or not frozenset(labels).isdisjoint(document.labels))
    }


def messages_of(
    tx: Transaction,
    principal: Principal,
    hits: Sequence[Hit],
    *,
    person: PersonMemory,
    words: Collection[str],
    most: int,
) -> Sequence[PastMessage]:
    """Return the messages of the first hits; of a long one, the part with the most words.

    Leaves out forgotten and refused messages, interrupted answers, and answers that used an item
    forgotten since or that cite what the caller may no longer read.
    """
    keys = [(SessionId(hit.parent), hit.seq) for hit in hits]
    known = [key for key in keys if key not in person.hidden_messages]
    found = list[tuple[SessionId, Message]]()
    for first in range(0, len(known), most):
        stored = tx.sessions.with_next(principal.owner, known[first : first + most])
        shown = (key for key in known[first : first + most] if key in stored)
        found += [
            (key[0], stored[key][0])
            for key in shown
            if _is_shown(tx, principal, stored[key]) and person.allows_recall(stored[key][0])
        ]
        if len(found) >= most:
            break
    return [
        PastMessage(
            session_id=session_id,
            seq=message.seq,
            role=message.role,
            text=excerpt(message.content, words, MOST_MESSAGE_CHARS),
            ts=message.ts,
            rank=rank,
        )
        for rank, (session_id, message) in enumerate(found[:most], start=1)
    ]


def _is_shown(tx: Transaction, principal: Principal, found: Sequence[Message]) -> bool:
    """Whether a message may be recalled. `found` has the next one, too, if there is one."""
    message = found[0]
    if message.role is MessageRole.USER:
        return found[-1].reason is not InterruptReason.REFUSED
    cited = {each.document_id for each in message.citations}
    return message.is_answer and cited <= readable_documents(tx, principal, cited).keys()
