"""What a provider's error answer is about, whatever the provider.

The body is read to be classified and for nothing else: providers quote prompts and keys in it, so
its words never reach a log or an answer. Only its status and its identifiers do.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from chatbot.domain.errors import ContextTooLong, PromptRefused

MAX_REFUSAL_BYTES = 64 * 1024
_DEEPEST = 6  # gateways put the error of the provider behind them inside their own

# An identifier and nothing that could be a key (`sk-...`), a sentence or a path.
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.\[\]]{0,63}", re.ASCII)
_CODES = ("code", "type", "reason", "status", "blockReason", "error_code", "error_type")
_PARAMS = ("param", "parameter", "loc", "field")

_TOO_LONG_CODES = re.compile(
    r"context_?length|context_?window|context_?size|context_?limit|prompt_?too_?long"
    r"|input_?too_?long|request_?too_?large|token_?limit_?exceeded|max_?tokens?_?exceeded"
    r"|string_?above_?max_?length|payload_?too_?large",
    re.IGNORECASE,
)
_TOO_LONG_WORDS = re.compile(
    r"maximum context|context (?:length|window|size|limit)|context is too long"
    r"|(?:prompt|input|request|conversation|messages?) (?:\w+ )?(?:is|are) too (?:long|large)"
    r"|(?:too long|too large) for (?:the |this |requested )?model|too many (?:input )?tokens"
    r"|maximum (?:prompt|model|input|sequence) length|request too large"
    r"|input (?:token count|length)[^.]{0,60} exceed|exceeds? the (?:maximum |model's |model )?"
    r"(?:number of (?:input )?tokens|token limit|input length|sequence length)"
    r"|reduce the length of the (?:messages|prompt|input)|range of input length"
    r"|tokens? (?:\+|and) `?max_new_tokens`? must be|inputs?`? must have less than \d+ tokens"
    r"|contextwindowexceeded",
    re.IGNORECASE,
)
_INPUT = re.compile(r"input|prompt|messages", re.IGNORECASE)
_FILTER_CODES = re.compile(
    r"content_?filter|content_?polic|responsible_?ai|moderation|safety|sensitive|guardrail"
    r"|data_?inspection|polic(?:y|ies)_?violation|flagged|prohibited|blocklist"
    r"|recitation|invalid_prompt|jailbreak|high_?risk|unsafe|harm",
    re.IGNORECASE,
)
_FILTER_WORDS = re.compile(
    r"content (?:management )?(?:filter|polic)|content_?(?:filter|policy)|contentpolicyviolation"
    r"|usage polic|safety (?:system|filter|polic|setting|reason)|responsible ?ai"
    r"|inappropriate content|sensitive (?:content|words?|information)|considered high risk"
    r"|(?:prompt|input|content|messages?|text|request)\b[^.]{0,40}"
    r"(?:flagged|blocked|moderat|prohibited|violat|unsafe)"
    r"|(?:flagged|blocked|rejected|filtered)[^.]{0,40}"
    r"(?:moderat|safety|polic|filter|unsafe|harmful|guardrail)|guardrail",
    re.IGNORECASE,
)

_ABOUT_THE_PROMPT = frozenset({200, 400, 403, 413, 422, 429, 500})
"""Statuses that may be about this prompt; the others are about the key, the address or an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a provider said with an error. `words` and `codes` serve to classify it and no more.

    `code` and `param` are identifiers that may be logged. `params` are the parameters of the
    request that the error blames, by its own fields. An error `is_in_band` if it came inside an
    answer that had begun with 200; its status is then the one that it names, or 200.
    """

    status: int
    code: str | None = None
    param: str | None = None
    params: tuple[str, ...] = ()
    codes: tuple[str, ...] = field(default=(), repr=False)
    words: str = field(default="", repr=False)
    is_in_band: bool = False

    def about_the_prompt(self) -> PromptRefused | None:
        """The error for a prompt that would be refused again, or None if that is not the reason."""
        if self.status not in _ABOUT_THE_PROMPT:
            return None
        if self._is_too_long():
            return ContextTooLong(status=self.status, code=self.code, param=self.param)
        if self._is_filtered():
            return PromptRefused(status=self.status, code=self.code, param=self.param)
        return None

    def _is_too_long(self) -> bool:
        if self.status == 429:  # a quota, but for a request that no quota would ever let through
            return "request too large" in self.words.lower()
        if self.status == 403:
            return False
        if self.status == 413 or any(map(_TOO_LONG_CODES.search, self.codes)):
            return True
        # `max_tokens` may be more than the model's whole context: no shorter prompt helps there.
        is_about_output = any(param.startswith("max_") for param in self.params)
        is_about_input = not is_about_output or _INPUT.search(self.words) is not None
        return is_about_input and _TOO_LONG_WORDS.search(self.words) is not None

    def _is_filtered(self) -> bool:
        if self.status == 429:
            return False
        if any(map(_FILTER_CODES.search, self.codes)):
            return True
        if self.status == 403 and not _INPUT.search(self.words):  # an account may be flagged, too
            return False
        return self.status < 500 and _FILTER_WORDS.search(self.words) is not None


def in_band_refusal(body: object) -> Refusal:
    """Classify an error that came inside an answer."""
    refusal = refusal_of(200, body)
    named = next((int(code) for code in refusal.codes if re.fullmatch("[45][0-9]{2}", code)), 200)
    return replace(refusal, status=named, is_in_band=True)


def refusal_of(status: int, body: object) -> Refusal:
    """Classify an error answer: `body` is its bytes, its text, or the JSON that it holds."""
    found = tuple(_leaves(_parsed(body) if isinstance(body, bytes | str) else body, "", 0))
    codes = tuple(text for code in _CODES for name, text in found if name == code)
    params = tuple(text for name, text in found if name in _PARAMS)
    return Refusal(
        status=status,
        code=_first_word(filter(None, map(identifier, codes))),
        param=next(filter(None, map(identifier, params)), None),
        params=params,
        codes=codes,
        words="\n".join(text for name, text in found if name not in _CODES),
    )


def _parsed(body: bytes | str) -> object:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    text = text[:MAX_REFUSAL_BYTES].removeprefix("\ufeff").strip()
    try:
        found: object = json.loads(text) if text[:1] in {"{", "["} else text
    except (ValueError, RecursionError):
        return text
    return found


def _leaves(found: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every text and number of a JSON value with the name that it goes by, outermost first."""
    if depth > _DEEPEST:
        return
    match found:
        case dict():
            for key, value in sorted(found.items(), key=lambda item: _is_nested(item[1])):
                yield from _leaves(value, str(key), depth + 1)
        case list() if name == "loc":  # of FastAPI: where in the request
            yield name, ".".join(str(part) for part in found if part != "body")
        case list():
            for value in found:
                yield from _leaves(value, name, depth + 1)
        case str() if _is_nested(inner := _parsed(found)):
            yield from _leaves(inner, name, depth + 1)
        case True if name == "filtered":  # of Azure's content_filter_result
            yield "code", "content_filter"
        case str() | int() | float() if not isinstance(found, bool):
            yield name, str(found)


def _first_word(identifiers: Iterable[str]) -> str | None:
    """The first that is a word; a number only where there is none."""
    found = list(identifiers)
    return next((one for one in found if not one.isdecimal()), found[0] if found else None)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list)


def identifier(text: str) -> str | None:
    """The text if it is an identifier that may be logged, else None."""
    return text if _IDENTIFIER.fullmatch(text) or (text.isdecimal() and len(text) < 8) else None
