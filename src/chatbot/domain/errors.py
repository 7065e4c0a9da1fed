"""Everything that can go wrong, as one small tree.

Adapters translate foreign errors into these (`raise ... from`); the entrypoints map them to
statuses and exit codes in one place. Messages may be shown to the caller: they never
repeat rejected input and name no internals.
"""

from collections.abc import Sequence

from chatbot.domain.quotas import Quota


class ChatbotError(Exception):
    """Root of the tree. `str(error)` is one sentence for the caller, by default the class's.

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
    """The caller accepts none of the formats of an answer."""

    sentence = "The answer has none of the formats in the header Accept."


class Unauthenticated(ChatbotError):
    """The caller is not identified."""


class InvalidCredentials(Unauthenticated):
    """The e-mail address or the password is wrong; the error does not say which."""

    sentence = "E-mail or password is wrong."


class InvalidToken(Unauthenticated):
    """The bearer token is malformed, forged, expired or revoked; the error does not say which."""

    sentence = "The token is invalid or has expired: log in again."


class InvalidAssertion(InvalidToken):
    """An application's assertion is malformed, forged, expired or used up, or its user is disabled."""

    sentence = "The assertion is invalid, has expired, or was used before: sign a new one."


class Revoked(Unauthenticated):
    """The sign-in was revoked while the answer was being generated."""

    sentence = "Your sign-in was revoked: log in again."


class UnknownUser(Unauthenticated):
    """The person named by an assertion does not exist."""

    sentence = "The user of the assertion is unknown."


class Forbidden(ChatbotError):
    """The caller is known, but lacks the permission."""


class PasswordChangeRequired(Forbidden):
    """The person has logged in with a one-time password, which permits only to replace it."""

    sentence = "Choose a password of your own first: POST /me/password."


class NotFound(ChatbotError):
    """It does not exist, or belongs to another owner: the response is the same."""

    sentence = "The session does not exist."


class Conflict(ChatbotError):
    """The current state does not allow it."""


class LastAdministrator(Conflict):
    """The change would leave no active user who manages users and roles."""

    sentence = "This is the last active administrator: create another one first."


class TooManySessions(Conflict):
    """The owner has as many sessions as are allowed."""

    sentence = "You have too many sessions: delete some first."


class TooManyDocuments(Conflict):
    """A quota of documents is used up."""

    sentence = "There are too many documents: delete some first."


class DuplicateDocument(Conflict):
    """The same bytes are there already, for the same readers, as the document with this id."""

    def __init__(self, document_id: str) -> None:
        super().__init__(
            f"The same file is there already, under the same access: document {document_id}. To "
            "upload it all the same, add `?force=true`."
        )
        self.document_id = document_id


class UnsupportedDocument(ChatbotError):
    """Files of this type cannot be read."""

    sentence = "Files of this type are not supported."


class ChangedMeanwhile(ChatbotError):
    """The object is not the one that the caller has seen."""

    sentence = "It was changed in the meantime: read it again, then repeat the change."


class SessionBusy(Conflict):
    """Another turn or change holds the session and did not finish in time."""

    sentence = "The session is busy with another turn: try again."


class SessionHeld(Conflict):
    """The session is on hold: it must be kept as it is."""

    sentence = "The session is on hold: it cannot be reset or deleted."


class RateLimited(ChatbotError):
    """Too many requests; retry after `retry_after_s` seconds. `quotas` are those that are used up."""

    def __init__(self, message: str, *, retry_after_s: float, quotas: Sequence[Quota] = ()) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.quotas = quotas


class BudgetExhausted(RateLimited):
    """The tokens of a budget are used up until its window ends."""


class ModelFailure(ChatbotError):
    """The language model did not do its part.

    `retry_after_s` is the wait that the provider asks for, if it does. `status`, `code` and `param` are what an answer of the provider said about itself, for the log:
    the HTTP status and two identifiers, never the provider's words.
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
    """The provider refuses this prompt, and would refuse it again; other prompts may pass."""

    sentence = "The model provider's content filter rejects this prompt."


class ContextTooLong(PromptRefused):
    """The prompt is longer than the model's context; a shorter one may pass."""

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
    """The audit cannot be written, and a change that it has to record was not made."""

    sentence = "The audit cannot be written: the change was not made."


class StorageFull(StorageFailure):
    """The store has no space left; existing data is intact."""


class ShuttingDown(ChatbotError):
    """The service is stopping and rejects new work."""

    sentence = "The service is shutting down: try again."


def cause_of(error: BaseException) -> str:
    """Return the chain of causes for the log; of foreign errors only the type, as providers quote prompts."""
    is_ours = isinstance(error, ChatbotError | OSError)
    named = type(error).__name__ + (f": {error}" if is_ours else "")
    if isinstance(error, ModelFailure) and error.identifiers:
        named += f" [{error.identifiers}]"
    cause = error.__cause__ or error.__context__
    return f"{named} <- {cause_of(cause)}" if cause else named
