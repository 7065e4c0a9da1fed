"""Everything that can go wrong, as one small tree.

    ChatbotError
    |-- InvalidInput            the request cannot be honoured as it stands
    |   `-- PromptTooLong
    |-- Unauthenticated         nobody proved who is calling
    |   |-- InvalidCredentials
    |   |-- InvalidToken
    |   `-- Revoked             the sign-in ended while it was in use
    |-- Forbidden               known, but not allowed
    |-- NotFound                absent, or somebody else's: the caller cannot tell
    |-- Conflict                the state does not allow it
    |   `-- SessionBusy         another turn holds the session
    |-- RateLimited             too much, too fast: try later
    |-- ModelFailure            the language model did not do its part
    |   |-- ModelError          it answered, but not usably
    |   |-- PromptRefused       the provider's content filter refuses this prompt
    |   |   `-- ContextTooLong  the prompt is longer than the model's context
    |   |-- ModelUnavailable    it could not be reached, or sent us away
    |   `-- ModelTimeout        it took longer than we wait
    |-- StorageFailure          the store did not do its part
    |   |-- StorageUnavailable  unreachable or damaged; what is there is left alone
    |   `-- StorageFull         no space; the old state is intact
    `-- ShuttingDown            the service is stopping

Adapters translate foreign errors into these (`raise ... from`); the entrypoints map them to
statuses and exit codes in one place. A message is fit for the caller's eyes: it never repeats
rejected input and names no internals.
"""


class ChatbotError(Exception):
    """Root of the tree. `str(error)` is one sentence for the caller: its own, or its kind's.

    `session_id` and `turn_id` are set where a turn failed whose question is stored.
    """

    sentence = ""
    session_id: str | None = None
    turn_id: str | None = None

    def __str__(self) -> str:
        return super().__str__() or self.sentence


class InvalidInput(ChatbotError):
    """The request cannot be honoured as it stands.

    `where` locates the offending field, as in `("prompt",)`; it never holds the input itself.
    """

    def __init__(self, message: str, *, where: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.where = where


class PromptTooLong(InvalidInput):
    """The prompt has more code points than the service accepts."""


class Unauthenticated(ChatbotError):
    """Nobody proved who is calling."""


class InvalidCredentials(Unauthenticated):
    """E-mail and password do not belong together; which of them is wrong is not said."""

    sentence = "Wrong e-mail or password."


class InvalidToken(Unauthenticated):
    """The bearer token is malformed, forged, expired or revoked; which of them is not said."""

    sentence = "The token is invalid or has expired: log in again."


class Revoked(Unauthenticated):
    """The sign-in was revoked while the answer was on its way."""

    sentence = "Your sign-in was revoked: log in again."


class Forbidden(ChatbotError):
    """The caller is known, but lacks the permission."""


class NotFound(ChatbotError):
    """It does not exist, or belongs to somebody else: the same answer to both."""

    sentence = "The session does not exist."


class Conflict(ChatbotError):
    """The present state does not allow it."""


class SessionBusy(Conflict):
    """Another turn or change holds the session and did not finish in time."""

    sentence = "The session is busy with another turn: try again."


class RateLimited(ChatbotError):
    """Too much, too fast. `retry_after_s` says when to come back."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelFailure(ChatbotError):
    """The language model did not do its part.

    `status`, `code` and `param` are what an answer of the provider said about itself, for the log:
    the HTTP status and two identifiers, never the provider's words.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param

    @property
    def said(self) -> str:
        """The status and the identifiers in one, as in `400 unknown_parameter, param top_k`."""
        status = str(self.status or "")
        said = f"{status} {self.code}" if self.code and self.code != status else status
        return f"{said}, param {self.param}" if self.param else said


class ModelError(ModelFailure):
    """The model's answer is unusable: refused request, garbage, cut stream, no finish reason."""


class PromptRefused(ModelFailure):
    """The provider refuses this prompt, and would refuse it again; other prompts are answered."""

    sentence = "The model provider's content filter rejects this prompt."


class ContextTooLong(PromptRefused):
    """The prompt is longer than the model's context; a shorter one would be taken."""

    sentence = (
        "The conversation is longer than the language model's context: check MODEL_CONTEXT_TOKENS."
    )


class ModelUnavailable(ModelFailure):
    """The model could not be reached or is overloaded. `retry_after_s` is the provider's wish."""

    sentence = "The language model is not available right now."

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_s: float | None = None,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, param=param)
        self.retry_after_s = retry_after_s


class ModelTimeout(ModelFailure):
    """The model took longer than one of the time limits."""

    sentence = "The language model took too long to answer."


class StorageFailure(ChatbotError):
    """The store did not do its part."""


class StorageUnavailable(StorageFailure):
    """The store cannot be read or written, or what it holds is damaged; nothing was overwritten."""


class StorageFull(StorageFailure):
    """There is no space left; what was stored before is intact."""


class ShuttingDown(ChatbotError):
    """The service is stopping and takes no new work."""

    sentence = "The service is shutting down: try again."


def cause_of(error: BaseException) -> str:
    """What led to an error, for the log: of others' errors only the kind, as providers quote prompts."""
    is_ours = isinstance(error, ChatbotError | OSError)
    named = type(error).__name__ + (f": {error}" if is_ours else "")
    if isinstance(error, ModelFailure) and error.said:
        named += f" [{error.said}]"
    cause = error.__cause__ or error.__context__
    return f"{named} <- {cause_of(cause)}" if cause else named
