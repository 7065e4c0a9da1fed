"""The schema of a problem document."""

from pydantic import Field

from chatbot.entrypoints.http.schemas.base import Answer


class FieldProblem(Answer):
    loc: list[str | int] = Field(description="Where the field is, such as `body`, `prompt`.")
    msg: str = Field(description="What is wrong with it; never the input itself.")


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str = Field(description="Always `about:blank`: see `code` instead.")
    title: str = Field(description="The name of the status.")
    status: int = Field(description="The status of the response.")
    detail: str = Field(description="A sentence for people; it may change.")
    code: str = Field(description="The kind of error, for programs; it does not change.")
    instance: str = Field(description="The request id, also in `X-Request-Id` and in the log.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="The invalid fields, at most 20."
    )
    session_id: str | None = Field(
        default=None, description="Present if the turn failed after its question was stored."
    )
    turn_id: str | None = Field(default=None, description="Present together with `session_id`.")
