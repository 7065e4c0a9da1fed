"""First prompts that failed: who asks the same again goes on in the session that the first try made.

A caller who has not got an answer may know no session id yet, and asks again without one. The
question stays stored, so that it is not lost, and a retry makes no further session.
"""

import hashlib
from collections import OrderedDict

from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Owner

_KEPT = 10_000


class FirstFailures:
    """The last failed first prompt of each owner, in this process."""

    def __init__(self) -> None:
        self._failed: OrderedDict[Owner, tuple[SessionId, bytes]] = OrderedDict()

    def remember(self, owner: Owner, session_id: SessionId, prompt: str) -> None:
        self._failed[owner] = (session_id, _digest(prompt))
        self._failed.move_to_end(owner)
        if len(self._failed) > _KEPT:
            self._failed.popitem(last=False)

    def pop(self, owner: Owner, prompt: str) -> SessionId | None:
        """The session in which this prompt failed, if it was the owner's last; only once."""
        session_id, digest = self._failed.get(owner, (None, b""))
        if session_id is None or digest != _digest(prompt):
            return None
        del self._failed[owner]
        return session_id


def _digest(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode()).digest()
