"""Indexes the messages that a database had before it had a search index."""

from itertools import groupby

from sqlalchemy import Connection, func, select

from chatbot.adapters.storage.sql.conversations import conversations, index_of
from chatbot.adapters.storage.sql.tables import sessions
from chatbot.domain.identity import Owner
from chatbot.domain.ports.backend import Progress
from chatbot.domain.ports.export import Conversation, Unreadable
from chatbot.domain.search import messages_scope, passages_of


def index_messages(connection: Connection, progress: Progress) -> None:
    """Index all messages in the connection's transaction.

    Conversations that cannot be read are left out: `chatbot doctor` names them.
    """
    total = connection.execute(select(func.count()).select_from(sessions)).scalar_one()
    index, done = index_of(connection), 0
    for owner, group in groupby(conversations(connection), _owner_of):
        for found in group:
            done += 1
            progress(done, total)
            if isinstance(found, Conversation):
                scope = messages_scope(found.session.owner)
                index.append(scope, found.session.id, passages_of(found.messages))
        if owner is not None:
            index.fold(messages_scope(owner))


def _owner_of(found: Conversation | Unreadable) -> Owner | None:
    return found.session.owner if isinstance(found, Conversation) else None
