"""Old answers as their reader may see them: without citations of documents that are closed to them."""

from collections.abc import Sequence
from dataclasses import replace

from chatbot.application.recalled_texts import readable_documents
from chatbot.domain.chat import Message, SessionView
from chatbot.domain.identity import Principal
from chatbot.domain.transaction import Transaction


def shown(tx: Transaction, reader: Principal, messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages with only the citations of documents that the reader may read now."""
    cited = {each.document_id for message in messages for each in message.citations}
    readable = readable_documents(tx, reader, cited)
    if cited <= readable:
        return tuple(messages)
    return tuple(_shown(message, readable) for message in messages)


def shown_view(tx: Transaction, reader: Principal, view: SessionView) -> SessionView:
    """Return the session with its messages as the reader may see them."""
    return replace(view, messages=shown(tx, reader, view.messages))


def _shown(message: Message, readable: frozenset[str]) -> Message:
    if message.details is None:
        return message
    kept = tuple(each for each in message.citations if each.document_id in readable)
    return replace(message, details=replace(message.details, citations=kept))
