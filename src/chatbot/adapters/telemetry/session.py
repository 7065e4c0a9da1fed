"""The session on whose behalf a model is called."""

from contextvars import ContextVar, Token
from types import TracebackType

from chatbot.domain.chat import SessionId

current_session: ContextVar[SessionId | None] = ContextVar("current_session", default=None)


class InSession:
    """Names the session inside of `with`."""

    __slots__ = ("_session_id", "_token")

    def __init__(self, session_id: SessionId) -> None:
        self._session_id = session_id
        self._token: Token[SessionId | None] | None = None

    def __enter__(self) -> None:
        self._token = current_session.set(self._session_id)

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._token is not None:
            current_session.reset(self._token)
