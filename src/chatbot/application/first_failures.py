"""First prompts that failed: the session of the first try is replaced when the same is asked again.

A caller who has not got an answer may know no session id yet, and asks again without one. The
question stays stored until then, so that it is not lost, and a retry leaves no further session. It
is not gone on in, as two people behind one API client may ask the same.
"""

import hashlib
import logging
from collections import OrderedDict

from chatbot.domain.chat import SessionId, TurnId
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.storage import Storage, Transaction

logger = logging.getLogger("chatbot.chat")

_KEPT = 10_000
_MESSAGES_OF_A_TURN = 2


class FirstFailures:
    """The last failed first prompt of each owner, in this process."""

    def __init__(self, storage: Storage, *, new_id: NewId) -> None:
        self._storage = storage
        self._new_id = new_id
        self._failed: OrderedDict[Owner, tuple[SessionId, bytes]] = OrderedDict()

    def remember(self, owner: Owner, session_id: SessionId, prompt: str) -> None:
        self._failed[owner] = (session_id, _digest(prompt))
        self._failed.move_to_end(owner)
        if len(self._failed) > _KEPT:
            self._failed.popitem(last=False)

    def pop(self, owner: Owner, prompt: str) -> SessionId | None:
        """Return the session in which this prompt failed, if it was the owner's last; only once."""
        session_id, digest = self._failed.get(owner, (None, b""))
        if session_id is None or digest != _digest(prompt):
            return None
        del self._failed[owner]
        return session_id

    async def remove(self, owner: Owner, session_id: SessionId) -> None:
        """Remove the session of a failed first prompt, unless somebody went on in it."""
        turn_id = TurnId(self._new_id())

        def remove(tx: Transaction) -> None:
            lease = tx.sessions.acquire(owner, session_id, turn_id)
            messages = tx.sessions.messages(owner, session_id, limit=_MESSAGES_OF_A_TURN + 1)
            if len(messages) > _MESSAGES_OF_A_TURN:
                tx.sessions.release(lease)
            else:
                tx.sessions.delete(lease)

        try:
            await self._storage.transact(remove)
        except ChatbotError as error:  # then it is listed beside the new one, and that is all
            logger.warning("a failed first turn is not removed: %s", cause_of(error))


def _digest(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode()).digest()
