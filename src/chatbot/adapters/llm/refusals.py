"""Classifies error responses of any provider.

The body is used for classification only: providers quote prompts and keys in it, so its text never
reaches a log or a response. Only its status and its identifiers do.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from genkit.plugin_api import parse_retry_after_ms

from chatbot.adapters.llm.wordings import Table, wording
from chatbot.domain.errors import ContextTooLong, PromptRefused

MAX_REFUSAL_BYTES = 64 * 1024
_MOST_CHARACTERS = 16 * 1024  # searching them takes 20 ms
_MOST_TEXTS = 1000
_LONGEST_CODE = 256
_DEEPEST = 6  # gateways nest the provider's error inside their own

# An identifier and nothing that could be a key (`sk-...`), a sentence or a path.
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.\[\]]{0,63}", re.ASCII)
_CODES = ("code", "type", "reason", "status", "blockReason", "error_code", "error_type")
_PARAMS = ("param", "parameter", "loc", "field")

_ECHOES = {"input", "flagged_input", "failed_generation"}
"""Fields that echo what was sent or generated: pydantic's, OpenRouter's, Groq's."""

_EXCEEDED = re.compile("exceed|too large to process")
"""In the words of a server that answers 500 although it has not failed."""
_INPUT = re.compile("input|prompt|messages|content_", re.IGNORECASE)
_ABOUT_THE_PROMPT = frozenset({200, 400, 403, 413, 422, 429, 500})
"""Statuses that may concern this prompt; others concern the key, the URL or an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A provider's error. `words` and `codes` are for classification only.

    `code` and `param` are identifiers that may be logged. `params` are the request parameters that
    the error's own fields name. An error `is_in_band` if it came inside a response with status
    200; its status is then the one that it names, or 200.
    """

    status: int
    code: str | None = None
    param: str | None = None
    params: tuple[str, ...] = ()
    codes: tuple[str, ...] = field(default=(), repr=False)
    words: str = field(default="", repr=False)
    retry_after_s: float | None = None
    is_in_band: bool = False

    def about_the_prompt(self) -> PromptRefused | None:
        """The error for a prompt that would be refused again, or None for any other reason."""
        if self.status not in _ABOUT_THE_PROMPT:
            return None
        if self._is_too_long():
            return ContextTooLong(status=self.status, code=self.code, param=self.param)
        if self._is_filtered():
            return PromptRefused(status=self.status, code=self.code, param=self.param)
        return None

    def _is_too_long(self) -> bool:
        words = self.words.lower()
        if self.status == 429:  # a rate limit, unless the request exceeds it by itself
            return "request too large" in words
        if self.status == 403 or (self.status >= 500 and not _EXCEEDED.search(words)):
            return False
        if self.status == 413 or self._has_code("prompt_too_long"):
            return True
        # `max_tokens` may exceed the model's whole context: a shorter prompt would not help.
        is_about_output = any(param.startswith("max_") for param in self.params)
        is_about_input = not is_about_output or _INPUT.search(words) is not None
        return is_about_input and self._has_words("prompt_too_long")

    def _is_filtered(self) -> bool:
        if self.status == 429:
            return False
        if self.status == 403 and not _INPUT.search("\n".join((*self.codes, self.words))):
            return False  # the account or its country is blocked
        if self.status >= 500:  # a filter may fail, too
            return self._has_code("prompt_filtered") and not self._has_code("finish_failed")
        return self._has_code("prompt_filtered") or self._has_words("prompt_filtered")

    def _has_code(self, table: Table) -> bool:
        return any(map(wording(table, "codes").search, self.codes))

    def _has_words(self, table: Table) -> bool:
        return wording(table, "words").search(self.words) is not None


class RequestRefused(Exception):
    """The provider responded with an error, by status or in band."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("The provider reported an error.")
        self.refusal = refusal


def in_band_refusal(body: object) -> Refusal:
    """Classify an in-band error."""
    refusal = refusal_of(200, body)
    named = next((int(code) for code in refusal.codes if re.fullmatch("[45][0-9]{2}", code)), 200)
    return replace(refusal, status=named, is_in_band=True)


def refusal_of(status: int, body: object, *, retry_after: str | None = None) -> Refusal:
    """Classify an error response; `body` is its bytes, its text, or its parsed JSON.

    `retry_after` is the header of that name, in either form.
    """
    wait_ms = parse_retry_after_ms(retry_after) if retry_after else None
    document = _parsed(body) if isinstance(body, bytes | str) else body
    found = tuple(islice(_leaves(document, "", 0), _MOST_TEXTS))
    codes = tuple(text[:_LONGEST_CODE] for code in _CODES for name, text in found if name == code)
    params = tuple(text for name, text in found if name in _PARAMS)
    return Refusal(
        status=status,
        retry_after_s=None if wait_ms is None else wait_ms / 1000,
        code=_first_word(filter(None, map(identifier, codes))),
        param=next(filter(None, map(identifier, params)), None),
        params=params,
        codes=codes,
        words="\n".join(text for name, text in found if name not in _CODES)[:_MOST_CHARACTERS],
    )


def _parsed(body: bytes | str) -> object:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    text = text[:MAX_REFUSAL_BYTES].removeprefix("\ufeff").strip()
    if text.startswith("<"):  # an HTML page of a proxy
        return None
    try:
        found: object = json.loads(text) if text[:1] in {"{", "["} else text
    except (ValueError, RecursionError):
        return text
    return found


def _leaves(found: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every string and number of a JSON value with its key, outermost first."""
    if depth > _DEEPEST or name in _ECHOES:
        return
    match found:
        case dict():
            for key, value in sorted(found.items(), key=lambda item: _is_nested(item[1])):
                yield from _leaves(value, str(key), depth + 1)
        case list() if name == "loc":  # FastAPI's path in the request
            yield name, ".".join(str(part) for part in found if part != "body")
        case list():
            for value in found:
                yield from _leaves(value, name, depth + 1)
        case str() if _is_nested(inner := _parsed(found)):
            yield from _leaves(inner, name, depth + 1)
        case True if name == "filtered":  # Azure's content_filter_result
            yield "code", "content_filter"
        case str() | int() | float() if not isinstance(found, bool):
            yield name, str(found)


def _first_word(identifiers: Iterable[str]) -> str | None:
    """The first that is a word, else the first number."""
    found = list(identifiers)
    return next((one for one in found if not one.isdecimal()), found[0] if found else None)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list)


def identifier(text: str) -> str | None:
    """The text if it is an identifier that may be logged, else None."""
    return text if _IDENTIFIER.fullmatch(text) or (text.isdecimal() and len(text) < 8) else None
