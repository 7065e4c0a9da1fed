"""The error classes of the application.

Adapters translate foreign errors into these (`raise ... from`); the entrypoints map them to
statuses and exit codes in one place. Messages may be shown to the caller: they never
repeat rejected input and name no internals.
"""

from collections.abc import Sequence

from chatbot.domain.quotas import Quota


class ChatbotError(Exception):
    """Base of all errors. `str(error)` is one sentence for the caller, by default that of the class.

    `session_id` and `turn_id` are set if a turn failed after its question was stored.
    """

    sentence = ""
    session_id: str | None = None
    turn_id: str | None = None

    def __str__(self) -> str:
        return super().__str__() or self.sentence


class InvalidInput(ChatbotError):
    """The request is invalid.

    `where` locates the field, as in `("prompt",)`; it never contains the input.
    """

    def __init__(self, message: str, *, where: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.where = where


class PromptTooLong(InvalidInput):
    """The prompt has more code points than the service accepts."""


class NotAcceptable(ChatbotError):
    """The response is not available in a format that the caller accepts; the message lists those."""


class Unauthenticated(ChatbotError):
    """The caller is not identified."""


class InvalidCredentials(Unauthenticated):
    """The e-mail address or the password is wrong; the error does not say which."""

    sentence = "The e-mail address or the password is wrong."


class InvalidToken(Unauthenticated):
    """The bearer token is malformed, forged, expired or revoked; the error does not say which."""

    sentence = "The token is invalid or has expired: log in again."


class InvalidAssertion(InvalidToken):
    """An application's assertion is malformed, forged, expired or already used, or its user is disabled."""

    sentence = "The assertion is invalid, has expired, or was used before: sign a new one."


class Revoked(Unauthenticated):
    """The sign-in was revoked while the answer was being generated."""

    sentence = "Your sign-in was revoked: log in again."


class UnknownUser(Unauthenticated):
    """The person named by an assertion does not exist."""

    sentence = "The user in the assertion does not exist."


class Forbidden(ChatbotError):
    """The caller is known, but lacks the permission."""


class PasswordChangeRequired(Forbidden):
    """The person has logged in with a one-time password, which only permits choosing a new one."""

    sentence = "Choose your own password first: POST /me/password."


class NotFound(ChatbotError):
    """The object does not exist, or belongs to another owner: the response is the same."""

    sentence = "The session does not exist."


class Conflict(ChatbotError):
    """The request conflicts with the current state."""


class LastAdministrator(Conflict):
    """The change would leave no active user who manages users and roles."""

    sentence = "This is the last active administrator: create another one first."


class TooManySessions(Conflict):
    """The owner has reached the limit of sessions."""

    sentence = "You have reached the limit of sessions: delete some first."


class TooManyDocuments(Conflict):
    """The limit of documents, or of their total size, is reached."""

    sentence = "The limit for documents is reached: delete some first."


class DuplicateDocument(Conflict):
    """The same bytes are already stored with the same access, as the document with this id."""

    def __init__(self, document_id: str) -> None:
        super().__init__(
            f"This file is already stored with the same access, as document {document_id}. To upload "
            "it anyway, add `?force=true`."
        )
        self.document_id = document_id


class UnsupportedDocument(ChatbotError):
    """The service cannot extract text from files of this type; the message lists those that it can."""


class ChangedMeanwhile(ChatbotError):
    """The object has changed since the caller read it."""

    sentence = "The object was changed in the meantime: read it again, then repeat the change."


class SessionBusy(Conflict):
    """Another turn or change holds the session and did not finish in time."""

    sentence = "The session is busy with another turn: try again."


class SessionHeld(Conflict):
    """The session is on hold: it must not be reset or deleted."""

    sentence = "The session is on hold: it cannot be reset or deleted."


class RateLimited(ChatbotError):
    """Too many requests; retry after `retry_after_s` seconds. `quotas` lists those that are used up."""

    def __init__(self, message: str, *, retry_after_s: float, quotas: Sequence[Quota] = ()) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.quotas = quotas


class BudgetExhausted(RateLimited):
    """The tokens of a budget are used up until its window ends."""


class ModelFailure(ChatbotError):
    """A call of the language model failed.

    `retry_after_s` is the wait that the provider requests, if any. `status`, `code` and `param` come
    from the provider's response, for the log: the HTTP status and two identifiers, never its words.
    """

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_s: float | None = None,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status
        self.code = code
        self.param = param

    @property
    def identifiers(self) -> str:
        """The status and the provider's identifiers, as in `400 unknown_parameter, param top_k`."""
        status = str(self.status or "")
        named = f"{status} {self.code}" if self.code and self.code != status else status
        return f"{named}, param {self.param}" if self.param else named


class ModelError(ModelFailure):
    """The model's answer is unusable: rejected request, garbage, cut stream, no finish reason."""


class PromptRefused(ModelFailure):
    """The provider rejects this prompt, and would reject it again; other prompts may be accepted."""

    sentence = "The content filter of the model provider rejected this prompt."


class ContextTooLong(PromptRefused):
    """The prompt is longer than the model's context; a shorter one may be accepted."""

    sentence = (
        "The conversation is longer than the language model's context: check MODEL_CONTEXT_TOKENS."
    )


class ModelUnavailable(ModelFailure):
    """The model could not be reached or is overloaded."""

    sentence = "The language model is not available right now."


class ModelTimeout(ModelFailure):
    """The model took longer than one of the time limits."""

    sentence = "The language model took too long to answer."


class StorageFailure(ChatbotError):
    """The store failed."""


class StorageUnavailable(StorageFailure):
    """The store cannot be read or written, or is damaged; nothing was overwritten."""


class AuditUnavailable(StorageFailure):
    """The audit cannot be written, so the change that it would record was not made."""

    sentence = "The audit cannot be written: the change was not made."


class StorageFull(StorageFailure):
    """The store has no space left; existing data is intact."""


class ShuttingDown(ChatbotError):
    """The service is stopping and rejects new work."""

    sentence = "The service is shutting down: try again."


def cause_of(error: BaseException) -> str:
    """Return the chain of causes for the log. Of foreign errors only the type: providers quote prompts."""
    is_ours = isinstance(error, ChatbotError | OSError)
    named = type(error).__name__ + (f": {error}" if is_ours else "")
    if isinstance(error, ModelFailure) and error.identifiers:
        named += f" [{error.identifiers}]"
    cause = error.__cause__ or error.__context__
    return f"{named} <- {cause_of(cause)}" if cause else named
