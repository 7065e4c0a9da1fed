"""Reads the texts of search hits for a turn, except those that may no longer be recalled."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from chatbot.application.relevance import excerpt
from chatbot.domain.chat import InterruptReason, Message, MessageRange, MessageRole, SessionId
from chatbot.domain.documents import Document, DocumentId, is_readable, search_atoms_of
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Principal
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.recall import PastMessage, RecalledPassage
from chatbot.domain.search import Hit
from chatbot.domain.transaction import Transaction

MOST_MESSAGE_CHARS = 400


def passages_of(
    tx: Transaction,
    principal: Principal,
    hits: Sequence[Hit],
    *,
    labels: Collection[str],
    most: int,
) -> Sequence[RecalledPassage]:
    """Return the passages of the first hits, without those that the caller may no longer read."""
    readable = readable_documents(tx, principal, (hit.parent for hit in hits), labels)
    keys = [(DocumentId(hit.parent), hit.seq) for hit in hits if hit.parent in readable][:most]
    stored = tx.documents.passages(keys)
    found = [stored[key] for key in keys if key in stored]
    return [
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
        for rank, each in enumerate(found, start=1)
    ]


def readable_documents(
    tx: Transaction,
    principal: Principal,
    ids: Collection[str] | Iterator[str],
    labels: Collection[str] = (),
) -> Mapping[str, Document]:
    """Return the documents that answers to the caller may use, with one of the labels if given."""
    wanted = [DocumentId(each) for each in dict.fromkeys(ids)]
    if not wanted:
        return {}
    atoms = search_atoms_of(principal)
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
    hidden = person.hidden_messages
    found = (
        (SessionId(hit.parent), message)
        for hit in hits
        if (SessionId(hit.parent), hit.seq) not in hidden
        and (message := _message(tx, principal, hit)) is not None
        and person.allows_recall(message)
    )
    return [
        PastMessage(
            session_id=session_id,
            seq=message.seq,
            role=message.role,
            text=excerpt(message.content, words, MOST_MESSAGE_CHARS),
            ts=message.ts,
            rank=rank,
        )
        for rank, (session_id, message) in enumerate(islice(found, most), start=1)
    ]


def _message(tx: Transaction, principal: Principal, hit: Hit) -> Message | None:
    selected = MessageRange(limit=2, after=hit.seq - 1, oldest=True)
    try:
        found = tx.sessions.read(principal.owner, SessionId(hit.parent), selected)
    except NotFound:
        return None
    if not found or found[0].seq != hit.seq:
        return None
    message = found[0]
    if message.role is MessageRole.USER:
        is_refused = found[-1].reason is InterruptReason.REFUSED
        return None if is_refused else message
    cited = {each.document_id for each in message.citations}
    is_shown = message.is_answer and cited <= readable_documents(tx, principal, cited).keys()
    return message if is_shown else None
