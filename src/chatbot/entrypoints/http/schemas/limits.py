"""Schemas of limits."""

from pydantic import Field

from chatbot.domain.errors import InvalidInput
from chatbot.domain.limits import MAX_LIMIT, MAX_NAME_CHARS, Limit, LimitKind, Subject
from chatbot.domain.quotas import Period
from chatbot.entrypoints.http.schemas.base import Answer, Body, Json, example

_RULE: Json = {
    "subject": "department",
    "name": "sales",
    "kind": "tokens",
    "per": "month",
    "limit": 2_000_000,
    "model": "openai/gpt-4.1-mini",
}
_LIMIT: Json = {"id": "sales-monthly", **_RULE}
_SUBJECT = (
    "Whom it applies to. That of a department or of a client is shared by all in it; of a role or of "
    "everyone, each person has their own."
)
_NAME = (
    "The name of the role, department or client, or the id of the user (when you set it, also the "
    "e-mail address); empty for everyone."
)
_KIND = (
    "What it bounds: `requests` to the service, `tokens` of the model, `streams`, which are answers at "
    "the same time, or `retention`, the days after which a session is deleted."
)
_PER = "The minute, hour, day or month, of the clock or the calendar; null for `streams` and `retention`."
_MODEL = (
    "Of tokens: the only model for which it counts, as in `GENKIT_MODEL`; null for every model."
)


class LimitAnswer(Answer):
    model_config = example(_LIMIT)

    id: str = Field(description="The id of the limit.")
    subject: Subject = Field(description=_SUBJECT)
    name: str = Field(description=_NAME)
    kind: LimitKind = Field(description=_KIND)
    per: Period | None = Field(description=_PER)
    limit: int = Field(description="The most that is allowed.")
    model: str | None = Field(description=_MODEL)


class LimitsAnswer(Answer):
    model_config = example({"limits": [_LIMIT]})

    limits: list[LimitAnswer] = Field(description="All limits, by id.")


class LimitBody(Body):
    model_config = example(_RULE)

    id: str | None = Field(
        default=None, description="The id in the path, so that an answer can be sent back."
    )
    subject: Subject = Field(description=_SUBJECT, strict=False)
    name: str = Field(default="", max_length=MAX_NAME_CHARS, description=_NAME)
    kind: LimitKind = Field(description=_KIND, strict=False)
    per: Period | None = Field(default=None, description=_PER, strict=False)
    limit: int = Field(ge=0, le=MAX_LIMIT, description="The most that is allowed.")
    model: str | None = Field(default=None, max_length=MAX_NAME_CHARS, description=_MODEL)

    def to_limit(self, limit_id: str) -> Limit:
        if self.id not in {None, limit_id}:
            raise InvalidInput("The id is not the one in the path.", where=("id",))
        return Limit(
            id=limit_id,
            subject=self.subject,
            name=self.name,
            kind=self.kind,
            per=self.per,
            limit=self.limit,
            model=self.model,
        )


class DeletedLimitAnswer(Answer):
    model_config = example({"deleted": True, "id": "sales-monthly"})

    deleted: bool = Field(default=True, description="Always true.")
    id: str = Field(description="The id that the limit had.")
