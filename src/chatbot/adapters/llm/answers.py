"""An answer of chat completions, put together from one JSON document or from many chunks.

Providers differ in what they call the end, where they put their thinking, and what they count.
Only what an answer needs is looked at: a finished answer stays finished, whatever follows it.
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
"""Of text, per token that was asked for: four times what is usual."""
_RAW_BYTES_PER_TOKEN = 4096
"""As a chunk of its own in JSON, with all that a gateway puts around a token."""
_RAW_BYTES_AROUND = 256 * 1024
_DOCUMENT_BYTES_PER_TOKEN = 256  # all tokens in one string, escaped, and the thinking in another
_DOCUMENT_BYTES_AROUND = 1024 * 1024
_TOKENS_IF_UNLIMITED = 100_000  # by hand in the Developer UI only
_MOST_TOKENS_COUNTED = 10**9
_REASONS_LOGGED = 16

_MEANINGS: tuple[tuple[Table, FinishReason], ...] = (
    ("finish_stop", FinishReason.STOP),
    ("finish_failed", FinishReason.OTHER),
    ("finish_blocked", FinishReason.BLOCKED),
    ("finish_length", FinishReason.LENGTH),
)
"""What a finish reason says, the first that matches."""
_LONGEST_REASON = 64
_NOT_YET = frozenset({"", "null", "none"})

_logged_reasons: set[str] = set()


class NoChoices(Exception):
    """The answer has no `choices`: what answers is not an OpenAI-compatible API."""


class Answer:
    """Takes documents in until the answer is complete.

    Text beyond `MOST_BYTES_PER_TOKEN` for each token that was asked for is cut off, and the answer
    is then `is_full`. `max_raw_bytes` are to be read of a stream at most, `max_document_bytes` of
    an answer in one piece, which has to be held.
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
        """Whether the provider has said why the answer ends."""
        return self._finish_reason is not None

    @property
    def has_begun(self) -> bool:
        """Whether some of its text is there."""
        return bool(self._texts)

    def take(self, document: object) -> str:
        """Take one JSON document in and return the text that it adds.

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
        return self._take_choice(choices[0])

    def cut(self) -> None:
        """End the answer here: it is longer than was asked for."""
        self.is_full = self._saw_choice = True

    def response(self) -> ModelResponse:
        """The whole answer in Genkit's form, with its text in one part.

        Raises:
            NoChoices: nothing of an answer was there.
        """
        if not self._saw_choice:
            raise NoChoices
        text = "".join(self._texts)
        return ModelResponse(
            message=Message(role=Role.MODEL, content=[Part.from_text(text)] if text else []),
            finish_reason=self._genkit_reason(has_text=bool(text)),
            usage=ModelUsage(input_tokens=self._input_tokens, output_tokens=self._output_tokens),
        )

    def _take_choice(self, choice: Mapping[str, Any]) -> str:
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
        """Add as much of the text as there is room for, and return that."""
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
        """Take each count that is valid; the last valid one stays."""
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
    """The JSON document at the beginning of the data, as far as it can be read.

    A byte order mark, bytes that are not UTF-8, and what follows the document are passed over.

    Raises:
        ValueError: there is none.
    """
    try:
        found: object = from_json(data)
    except ValueError:
        text = data.decode("utf-8-sig", errors="replace").lstrip()
        found, _ = json.JSONDecoder().raw_decode(text)
    return found


def document_begun_in(data: bytes | bytearray) -> object:
    """What there is of a JSON document whose end was not read."""
    text = data.decode("utf-8-sig", errors="ignore")
    found: object = from_json(text, allow_partial="trailing-strings")
    return found


def _text_of(content: object) -> str:
    """The text in a list of parts; thinking and references are not text."""
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
    """The cached tokens that the provider did not count into the prompt's.

    OpenAI counts them in; Anthropic does not. Of a gateway with OpenAI's names only the numbers
    say it: there are more of them than the prompt has, or the total is the sum of all.
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
