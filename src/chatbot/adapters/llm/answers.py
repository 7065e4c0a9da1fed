"""An answer of chat completions, assembled from one JSON document or from many chunks.

Providers differ in their finish reasons, in where they put their thinking and in what they count.
Only what an answer needs is read: a finished answer stays finished, whatever follows it.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from genkit import FinishReason, Message, ModelResponse, ModelUsage, Part, Role
from pydantic_core import from_json

from chatbot.adapters.llm.refusals import Refusal, RequestRefused, identifier, in_band_refusal
from chatbot.adapters.llm.wordings import Table, wording
from chatbot.domain.text import replace_unstorable

logger = logging.getLogger("chatbot.model")

MOST_BYTES_PER_TOKEN = 16
"""Of text, per requested token: four times the usual."""
_RAW_BYTES_PER_TOKEN = 4096
"""A chunk of JSON per token, with everything that a gateway adds."""
_RAW_BYTES_AROUND = 256 * 1024
_DOCUMENT_BYTES_PER_TOKEN = 256  # one escaped string of all tokens, and one of the thinking
_DOCUMENT_BYTES_AROUND = 1024 * 1024
_TOKENS_IF_UNLIMITED = 100_000  # only from the Developer UI
_MOST_TOKENS_COUNTED = 10**9
_REASONS_LOGGED = 16

_MEANINGS: tuple[tuple[Table, FinishReason], ...] = (
    ("finish_stop", FinishReason.STOP),
    ("finish_failed", FinishReason.OTHER),
    ("finish_blocked", FinishReason.BLOCKED),
    ("finish_length", FinishReason.LENGTH),
)
"""The meaning of a finish reason; the first match counts."""
_LONGEST_REASON = 64
_NOT_YET = frozenset({"", "null", "none"})

_logged_reasons: set[str] = set()


class NoChoices(Exception):
    """The response has no `choices`: the server is not an OpenAI-compatible API."""


class Answer:
    """Collects documents until the answer is complete.

    Text beyond `MOST_BYTES_PER_TOKEN` for each requested token is cut off, and the answer is then
    `is_full`. A caller reads at most `max_raw_bytes` of a stream, or `max_document_bytes` of a
    response in one piece, which is held in memory.
    """

    def __init__(self, *, max_output_tokens: int | None = None) -> None:
        tokens = max_output_tokens or _TOKENS_IF_UNLIMITED
        self.max_raw_bytes = tokens * _RAW_BYTES_PER_TOKEN + _RAW_BYTES_AROUND
        self.max_document_bytes = tokens * _DOCUMENT_BYTES_PER_TOKEN + _DOCUMENT_BYTES_AROUND
        self.is_full = False
        self._room = tokens * MOST_BYTES_PER_TOKEN
        self._texts: list[str] = []
        self._has_refusal = False
        self._finish_reason: object = None
        self._saw_choice = False
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the provider has sent a finish reason."""
        return self._finish_reason is not None

    @property
    def has_begun(self) -> bool:
        """Whether any text has arrived."""
        return bool(self._texts)

    def feed(self, document: object) -> str:
        """Add one JSON document and return its text.

        Raises:
            RequestRefused: it is an error, and the answer was not finished.
        """
        if not isinstance(document, dict):
            return ""
        if (error := _error_in(document)) is not None:
            if self.is_finished:
                return ""
            raise RequestRefused(error)
        if isinstance(usage := document.get("usage"), dict):
            self._count(usage)
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return ""
        self._saw_choice = True
        return self._feed_choice(choices[0])

    def cut(self) -> None:
        """End the answer here: it is longer than requested."""
        self.is_full = self._saw_choice = True

    def response(self) -> ModelResponse:
        """The complete answer as Genkit's type, with its text in one part.

        Raises:
            NoChoices: no document contained a choice.
        """
        if not self._saw_choice:
            raise NoChoices
        text = "".join(self._texts)
        return ModelResponse(
            message=Message(role=Role.MODEL, content=[Part.from_text(text)] if text else []),
            finish_reason=self._genkit_reason(has_text=bool(text)),
            usage=ModelUsage(input_tokens=self._input_tokens, output_tokens=self._output_tokens),
        )

    def _feed_choice(self, choice: Mapping[str, Any]) -> str:
        reason = choice.get("finish_reason")
        if reason and str(reason).lower() not in _NOT_YET:
            self._finish_reason = reason
        part = choice.get("delta") or choice.get("message")
        if not isinstance(part, dict):
            return ""
        self._has_refusal = self._has_refusal or bool(part.get("refusal"))
        content = part.get("content")
        return self._add(content if isinstance(content, str) else _text_of(content))

    def _add(self, text: str) -> str:
        """Add as much of the text as is allowed, and return that."""
        if not text or self.is_full:
            return ""
        text = replace_unstorable(text)
        size = len(text) if text.isascii() else len(text.encode())
        if size > self._room:
            text = text.encode()[: self._room].decode(errors="ignore")
            self.cut()
        self._room -= size
        self._texts.append(text)
        return text

    def _count(self, usage: Mapping[str, Any]) -> None:
        """Keep the last valid value of each count."""
        given = _count_in(usage, "prompt_tokens", "input_tokens")
        made = _count_in(usage, "completion_tokens", "output_tokens")
        if given is not None:
            self._input_tokens = given + _cached_outside(usage, given, made or 0)
        if made is not None:
            self._output_tokens = made

    def _genkit_reason(self, *, has_text: bool) -> FinishReason:
        if self.is_full:
            return FinishReason.LENGTH
        if self._has_refusal:
            return FinishReason.BLOCKED
        if self._finish_reason is None:
            return FinishReason.UNKNOWN
        reason = str(self._finish_reason)[:_LONGEST_REASON]
        for table, meaning in _MEANINGS:
            if wording(table, "codes").search(reason):
                return meaning
        _log_unknown(self._finish_reason)
        return FinishReason.STOP if has_text else FinishReason.UNKNOWN


def document_in(data: bytes | bytearray) -> object:
    """Parse the JSON document at the start of the data.

    Ignores a byte order mark, invalid UTF-8, and anything after the document.

    Raises:
        ValueError: the data does not start with a document.
    """
    try:
        found: object = from_json(data)
    except ValueError:
        text = data.decode("utf-8-sig", errors="replace").lstrip()
        found, _ = json.JSONDecoder().raw_decode(text)
    return found


def document_begun_in(data: bytes | bytearray) -> object:
    """Parse the start of a JSON document that was not read to its end."""
    text = data.decode("utf-8-sig", errors="ignore")
    found: object = from_json(text, allow_partial="trailing-strings")
    return found


def _text_of(content: object) -> str:
    """The text of a list of parts, without thinking and references."""
    parts = content if isinstance(content, list) else [content]
    return "".join(map(_text_of_part, parts))


def _text_of_part(part: object) -> str:
    match part:
        case str():
            return part
        case {"type": "text" | "output_text", "text": str(text)}:
            return text
        case {"text": str(text), **others} if "type" not in others:
            return text
        case _:
            return ""


def _error_in(document: Mapping[str, Any]) -> Refusal | None:
    is_error = document.get("error") or document.get("object") == "error"
    return in_band_refusal(document) if is_error else None


def _count_in(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if type(value) is int and 0 <= value < _MOST_TOKENS_COUNTED:
            return value
    return None


def _cached_outside(usage: Mapping[str, Any], given: int, made: int) -> int:
    """The cached tokens that the provider did not include in the prompt's.

    OpenAI includes them; Anthropic does not. With a gateway that uses OpenAI's names, only the
    numbers show it: they exceed the prompt's, or the total is the sum of all.
    """
    details = usage.get("prompt_tokens_details")
    read = _count_in(usage, "cache_read_input_tokens", "prompt_cache_hit_tokens") or 0
    if isinstance(details, dict):
        read = max(read, _count_in(details, "cached_tokens") or 0)
    cached = read + (_count_in(usage, "cache_creation_input_tokens") or 0)
    is_summed = _count_in(usage, "total_tokens") == given + made + cached
    is_outside = cached > given or is_summed or "prompt_tokens" not in usage
    return cached if is_outside else 0


def _log_unknown(reason: object) -> None:
    """Log an unknown finish reason, once per process."""
    name = (identifier(reason) if isinstance(reason, str) else None) or type(reason).__name__
    if name not in _logged_reasons and len(_logged_reasons) < _REASONS_LOGGED:
        _logged_reasons.add(name)
        logger.warning("the provider ended an answer with an unknown finish reason: %s", name)
