"""A retried first prompt replaces the session of its failed attempt.

A caller who got no answer may not know the session id, and retries without one. The failed question
stays stored until then, so that it is not lost, and the retry leaves no additional session. The retry
does not resume the old session, because two users of one API client may ask the same.
"""

import hashlib
import logging
from collections import OrderedDict

from chatbot.domain.chat import SessionId, TurnId
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.chat")

_KEPT = 10_000
_MESSAGES_OF_A_TURN = 2


class FirstFailures:
    """The last failed first prompt of each owner, in this process."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._failed: OrderedDict[Owner, tuple[SessionId, bytes]] = OrderedDict()

    def remember(self, owner: Owner, session_id: SessionId, prompt: str) -> None:
        self._failed[owner] = (session_id, _digest(prompt))
        self._failed.move_to_end(owner)
        if len(self._failed) > _KEPT:
            self._failed.popitem(last=False)

    async def replace(self, owner: Owner, prompt: str, turn_id: TurnId) -> None:
        """Delete the session in which this prompt failed last, unless it was resumed."""
        session_id, digest = self._failed.get(owner, (None, b""))
        if session_id is None or digest != _digest(prompt):
            return
        del self._failed[owner]

        def delete(tx: Transaction) -> None:
            with tx.sessions.held(owner, session_id, turn_id) as lease:
                if tx.sessions.get(owner, session_id).message_count <= _MESSAGES_OF_A_TURN:
                    tx.person_memories.forget_messages(owner, session_id)
                    tx.sessions.delete(lease)

        try:
            await self._storage.transact(delete)
        except ChatbotError as error:  # the session merely stays listed
            logger.warning("a failed first turn could not be removed: %s", cause_of(error))


def _digest(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode()).digest()
