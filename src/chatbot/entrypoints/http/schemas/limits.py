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
    "Who the limit applies to. The limit of a department or client is shared by all its callers; a "
    "limit for a role or for everyone applies to each person separately."
)
_NAME = (
    "The name of the role, department or client, or the id of the user. In a request, an e-mail address "
    "is also accepted for a user. Empty for everyone."
)
_KIND = (
    "What is limited: `requests` to the service, `tokens` of the model, `streams` (simultaneous answers), "
    "or `retention` (days after which a session is deleted)."
)
_PER = "The clock minute or hour, or the calendar day or month. Null for `streams` and `retention`."
_MODEL = (
    "For tokens: count only those of this model, named as in `GENKIT_MODEL`. Null for all models."
)


class LimitAnswer(Answer):
    model_config = example(_LIMIT)

    id: str = Field(description="The id of the limit.")
    subject: Subject = Field(description=_SUBJECT)
    name: str = Field(description=_NAME)
    kind: LimitKind = Field(description=_KIND)
    per: Period | None = Field(description=_PER)
    limit: int = Field(description="The maximum.")
    model: str | None = Field(description=_MODEL)


class LimitsAnswer(Answer):
    model_config = example({"limits": [_LIMIT]})

    limits: list[LimitAnswer] = Field(description="All limits, sorted by id.")


class LimitBody(Body):
    model_config = example(_RULE)

    id: str | None = Field(default=None, description="Optional. Must be the id in the path.")
    subject: Subject = Field(description=_SUBJECT, strict=False)
    name: str = Field(default="", max_length=MAX_NAME_CHARS, description=_NAME)
    kind: LimitKind = Field(description=_KIND, strict=False)
    per: Period | None = Field(default=None, description=_PER, strict=False)
    limit: int = Field(ge=0, le=MAX_LIMIT, description="The maximum.")
    model: str | None = Field(default=None, max_length=MAX_NAME_CHARS, description=_MODEL)

    def to_limit(self, limit_id: str) -> Limit:
        if self.id not in {None, limit_id}:
            raise InvalidInput("The id differs from the one in the path.", where=("id",))
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
    id: str = Field(description="The id of the deleted limit.")
