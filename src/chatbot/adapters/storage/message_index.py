"""The search index entries of sessions."""

from chatbot.domain.chat import Lease, Message
from chatbot.domain.identity import Owner
from chatbot.domain.ports.search import SearchIndex
from chatbot.domain.search import messages_scope, passages_of


class MessageIndex:
    """The messages of sessions in an index, by the lease under which they are written."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    def append(self, lease: Lease, message: Message) -> None:
        """Index a numbered message, if it has a text."""
        passages = passages_of([message])
        self._index.append(messages_scope(lease.owner), lease.session_id, passages)

    def remove(self, lease: Lease, *, upto: int | None = None) -> None:
        """Remove the messages of the session, or those up to a number."""
        self._index.remove(messages_scope(lease.owner), lease.session_id, upto=upto)

    def clear(self, owner: Owner) -> None:
        """Remove everything of an owner who no longer has sessions."""
        self._index.clear(messages_scope(owner))
