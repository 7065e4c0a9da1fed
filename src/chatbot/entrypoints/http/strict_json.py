"""Strict JSON as in RFC 8259 and RFC 7493 (I-JSON), without the extensions of Python's parser."""

import json
import math
import re
from collections.abc import Iterable
from typing import NoReturn

from chatbot.domain.text import is_storable

MAX_DEPTH = 32
MAX_VALUES = 2048
"""Maximum number of values in a body. Finding 30,000 errors would take half a second."""

# Possessive, and a string may be unterminated: otherwise each quote of an unterminated string would
# be tried to the end of the body. Runs of plain characters are taken at once, because a text may be as
# long as a file, and nothing else runs while it is matched.
_BRACKETS_AND_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_OR_NUL_ESCAPES = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class NotStrictJson(ValueError):
    """The text is not valid strict JSON; the message says why, without repeating it."""


def decode(body: bytes) -> object:
    """Returns the value of a UTF-8 body with one unambiguous JSON value, at most 32 levels deep.

    Raises:
        NotStrictJson: the body is something else, or contains NaN, Infinity or a number that Python
            reads as infinite (`1e999`), a duplicate key, a lone surrogate, the character NUL, or
            more than 2,048 values.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJson("The request body is not UTF-8.") from None
    _check_tokens(body)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
        )
    except NotStrictJson:
        raise
    except (ValueError, RecursionError):
        raise NotStrictJson("The request body is not valid JSON.") from None
    if b"\0" in body or _SURROGATE_OR_NUL_ESCAPES.search(body):
        _check_texts([value])
    _check_count(value)
    return value


def _check_tokens(body: bytes) -> None:
    """Check the depth, and bound the number of values before the parser creates them.

    A value has at most two of these tokens: the string of its key, and its own string or bracket.
    """
    depth = tokens = 0
    for token in _BRACKETS_AND_STRINGS.finditer(body):
        if token.group() in b"]}":
            depth -= 1
            continue
        tokens += 1
        if tokens > 2 * MAX_VALUES + 1:  # plus one: the body itself
            raise _too_many_values()
        if token.group() in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotStrictJson(
                    f"The request body is nested more than {MAX_DEPTH} levels deep."
                )


def _check_count(value: object) -> None:
    pending, count = [value], 0
    while pending:
        one = pending.pop()
        if isinstance(one, dict | list):
            count += len(one)
            if count > MAX_VALUES:
                raise _too_many_values()
            pending.extend(one.values() if isinstance(one, dict) else one)


def _too_many_values() -> NotStrictJson:
    return NotStrictJson(f"The request body has more than {MAX_VALUES} values.")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise NotStrictJson("The request body has a duplicate key.")
    return unique


def _no_constant(_: str) -> NoReturn:
    raise NotStrictJson("NaN and Infinity are not valid JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotStrictJson("A number is too large.")
    return number


def _check_texts(values: Iterable[object]) -> None:
    for value in values:
        if isinstance(value, dict):
            _check_texts([*value.keys(), *value.values()])
        elif isinstance(value, list):
            _check_texts(value)
        elif isinstance(value, str) and not is_storable(value):
            raise NotStrictJson("A string contains a lone surrogate or the character NUL.")
