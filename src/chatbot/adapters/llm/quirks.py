"""What a model does not take, and how it is asked instead.

Every OpenAI-compatible provider leaves out or renames some optional parameter. The first refusal
that names one is answered by asking once more without it, or in its other form; if that helps, it
is remembered for the process.
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
"""What `json_object` means, for providers that only know schemas."""
_ONLY_IF_NAMED = {"system": "developer", "json_object": "json_schema"}
"""What is tried after a refusal that names it, and counts as refused after another."""
_MAX_TOKENS: tuple[MaxTokensField, MaxTokensField] = ("max_tokens", "max_completion_tokens")
_WORDED_AS = {
    **{name: name for name in (*_OPTIONAL, "max_tokens", "json_object", "json_schema", "system")},
    "max_completion_tokens": "max_tokens",
    "developer": "system",
}
"""All that may be refused, and where `wordings.toml` has how that is said."""
_NAMES_A_PARAMETER = frozenset({200, 400, 404, 405, 415, 422, 500, 501})
_SAYS_SO = re.compile("support|must|only|expect|enabled|allow|permit|deprecated", re.IGNORECASE)
"""What an error that may be an outage has to say, as in Gemma's `System role not supported`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How one model is asked: as set by hand, and without what it has `refused`.

    None is as the plug-in does it. `refused` holds names of parameters, roles of the system text,
    and types of `response_format`.
    """

    max_tokens_field: MaxTokensField | None = None
    system_role: SystemRole | None = None
    refused: frozenset[str] = frozenset()

    def fitted(self, body: Body) -> Body:
        """The request's body as this model takes it."""
        if self == AS_THE_PLUGIN:
            return body
        fitted = dict(body)
        without = self.refused | {"stream_options"} if "stream" in self.refused else self.refused
        for name in _OPTIONAL:
            if name in without:
                fitted.pop(name, None)
        if "response_format" in body:
            fitted |= self._response_format(fitted.pop("response_format"))
        limits = [fitted.pop(name) for name in _MAX_TOKENS if name in fitted]
        if limits and (field := self._limit_field(body)):
            fitted[field] = limits[0]
        if role := self._role():
            fitted["messages"] = _with_system_as(role, fitted["messages"])
        return fitted

    def after(self, refusal: Refusal, sent: Body) -> "Quirks | None":
        """How to ask after this refusal of a fitted body; None if there is no other way.

        What is refused only grows, so that asking again and again comes to an end.
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
        """What is done differently, as in `without temperature, system text joined to the user's`."""
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
        """The first form that is not refused, from the one that is preferred."""
        preferred = self.max_tokens_field or next((n for n in _MAX_TOKENS if n in body), None)
        forms = sorted(_MAX_TOKENS, key=lambda name: name != preferred)
        return next((name for name in forms if name not in self.refused), None)

    def _role(self) -> SystemRole | None:
        """The role of the system text; None is `system`, as it comes."""
        preferred = self.system_role or "system"
        roles: tuple[SystemRole, ...] = (preferred, "system", "developer", "none")
        role = next(role for role in roles if role not in self.refused)
        return None if role == "system" else role


AS_THE_PLUGIN = Quirks()


class KnownQuirks:
    """The quirks of a provider's models, as set by hand and as found out; for one process."""

    def __init__(self, is_manual: Quirks = AS_THE_PLUGIN) -> None:
        self._by_hand = is_manual
        self._found: dict[str, Quirks] = {}

    def of(self, model: str) -> Quirks:
        return self._found.get(model, self._by_hand)

    def remember(self, model: str, quirks: Quirks) -> None:
        """Keep what has helped beside what other calls found meanwhile, and log what is new."""
        before = self.of(model)
        found = replace(quirks, refused=quirks.refused | before.refused)
        if found != before:
            self._found[model] = found
            logger.warning(
                "the provider rejects optional parameters for %s; requests are now sent %s",
                model,
                found,
            )


def _refused_in(refusal: Refusal, sent: Body) -> str | None:
    """What of the request the refusal blames: by its own field, else what it names first."""
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
