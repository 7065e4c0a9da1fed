"""Optional request parameters that a model rejects, and what is sent instead.

Every OpenAI-compatible provider lacks or renames some optional parameter. When an error names one,
the request is sent again without it or in its other form; what helped is kept for the process.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

from chatbot.adapters.llm.refusals import Refusal
from chatbot.adapters.llm.wordings import wording

logger = logging.getLogger("chatbot.model")

Body = Mapping[str, Any]
MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
SystemRole = Literal["system", "developer", "none"]

_OPTIONAL = ("stream", "stream_options", "temperature", "reasoning_effort")
_ANY_OBJECT = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object"}},
}
"""The equivalent of `json_object` for providers that support schemas only."""
_ONLY_IF_NAMED = {"system": "developer", "json_object": "json_schema"}
"""The alternative is tried only if the error names the first form; otherwise both are refused."""
_MAX_TOKENS: tuple[MaxTokensField, MaxTokensField] = ("max_tokens", "max_completion_tokens")
_WORDED_AS = {
    **{name: name for name in (*_OPTIONAL, "max_tokens", "json_object", "json_schema", "system")},
    "max_completion_tokens": "max_tokens",
    "developer": "system",
}
"""What may be refused, with its key in the table `parameter` of `wordings.toml`."""
_NAMES_A_PARAMETER = frozenset({200, 400, 404, 405, 415, 422, 500, 501})
_SAYS_SO = re.compile("support|must|only|expect|enabled|allow|permit|deprecated", re.IGNORECASE)
"""Words that an error must contain if it may also be an outage: `System role not supported`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How requests to one model differ from the plug-in's: by configuration, and by what it refused.

    `refused` contains names of parameters, roles of the system message, and types of
    `response_format`.
    """

    max_tokens_field: MaxTokensField | None = None
    system_role: SystemRole | None = None
    refused: frozenset[str] = frozenset()

    def adapt(self, body: Body) -> Body:
        """Return the request's body in the form that this model accepts."""
        if self == NO_QUIRKS:
            return body
        adapted = dict(body)
        without = self.refused | {"stream_options"} if "stream" in self.refused else self.refused
        for name in _OPTIONAL:
            if name in without:
                adapted.pop(name, None)
        if "response_format" in body:
            adapted |= self._response_format(adapted.pop("response_format"))
        limits = [adapted.pop(name) for name in _MAX_TOKENS if name in adapted]
        if limits and (field := self._limit_field(body)):
            adapted[field] = limits[0]
        if role := self._role():
            adapted["messages"] = _with_system_as(role, adapted["messages"])
        return adapted

    def after_refusal(self, refusal: Refusal, sent: Body) -> "Quirks | None":
        """Return the quirks to try after `sent` was refused; None if nothing else can be tried.

        `refused` only grows, so the attempts come to an end.
        """
        if refusal.status not in _NAMES_A_PARAMETER or refusal.about_the_prompt():
            return None
        may_be_an_outage = refusal.status == HTTPStatus.OK or refusal.status >= 500
        if may_be_an_outage and not _SAYS_SO.search(refusal.words):
            return None
        name = _refused_in(refusal, sent)
        if name is None or name in self.refused:
            return None
        also = _ONLY_IF_NAMED.get(name, name)
        others = {name} if also in refusal.words.lower() else {name, also}
        return replace(self, refused=self.refused | others)

    def __str__(self) -> str:
        """The differences, as in `without temperature, system text joined to the user's`."""
        parts = [f"without {name}" for name in _OPTIONAL if name in self.refused]
        if "json_object" in self.refused:
            without = "json_schema" in self.refused
            parts.append("without response_format" if without else "response_format json_schema")
        if self.max_tokens_field or self.refused & {*_MAX_TOKENS}:
            parts.append(f"length limit as {self._limit_field({}) or 'none'}")
        if role := self._role():
            parts.append("system text joined to the user's" if role == "none" else f"role {role}")
        return ", ".join(parts)

    def _response_format(self, wanted: Body) -> Body:
        if wanted["type"] == "json_object" and "json_object" in self.refused:
            wanted = _ANY_OBJECT
        return {} if wanted["type"] in self.refused else {"response_format": wanted}

    def _limit_field(self, body: Body) -> MaxTokensField | None:
        """The preferred form, or else another that was not refused."""
        preferred = self.max_tokens_field or next((n for n in _MAX_TOKENS if n in body), None)
        forms = sorted(_MAX_TOKENS, key=lambda name: name != preferred)
        return next((name for name in forms if name not in self.refused), None)

    def _role(self) -> SystemRole | None:
        """The role of the system message; None leaves it `system`."""
        preferred = self.system_role or "system"
        roles: tuple[SystemRole, ...] = (preferred, "system", "developer", "none")
        role = next(role for role in roles if role not in self.refused)
        return None if role == "system" else role


NO_QUIRKS = Quirks()


class KnownQuirks:
    """The quirks of a provider's models: configured, and discovered by this process."""

    def __init__(self, configured: Quirks = NO_QUIRKS) -> None:
        self._configured = configured
        self._discovered: dict[str, Quirks] = {}

    def of(self, model: str) -> Quirks:
        return self._discovered.get(model, self._configured)

    def remember(self, model: str, quirks: Quirks) -> None:
        """Store quirks that worked, merged with what other calls have discovered; log a change."""
        before = self.of(model)
        found = replace(quirks, refused=quirks.refused | before.refused)
        if found != before:
            self._discovered[model] = found
            logger.warning(
                "the provider rejects optional parameters for %s; requests are now sent %s",
                model,
                found,
            )


def _refused_in(refusal: Refusal, sent: Body) -> str | None:
    """What the refusal blames: by its own field, else what its text names first."""
    names = {*sent, sent.get("response_format", {}).get("type"), _first_role(sent["messages"])}
    for words in (*refusal.params, refusal.words):
        blamed = [
            (found.start(), name)
            for name, key in _WORDED_AS.items()
            if name in names and (found := wording("parameter", key).search(words))
        ]
        if blamed:
            return min(blamed)[1]
    return None


def _first_role(messages: list[dict[str, Any]]) -> str | None:
    return messages[0]["role"] if messages else None


def _with_system_as(role: SystemRole, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if _first_role(messages) != "system":
        return messages
    system, *others = messages
    if role != "none":
        return [{**system, "role": role}, *others]
    for number, message in enumerate(others):
        if message["role"] == "user" and isinstance(message["content"], str):
            joined = {**message, "content": f"{system['content']}\n\n{message['content']}"}
            return [*others[:number], joined, *others[number + 1 :]]
    return [{**system, "role": "user"}, *others]
