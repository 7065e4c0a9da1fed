"""The preferred language of the caller, from Accept-Language (RFC 9110, section 12.5.4)."""

import re

from starlette.datastructures import Headers

from chatbot.application.prompt_texts import LANGUAGES, Language

_MAX_CHARS = 1000  # of the header are parsed; browsers send less than 100
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?"
)


def preferred_language(headers: Headers) -> Language | None:
    """Returns the preferred one of the built-in languages, or None if the header names none.

    Regions are ignored: `es-419` is `es`. Malformed parts are skipped.
    """
    weights: dict[str, float] = {}
    for part in ",".join(headers.getlist("accept-language"))[:_MAX_CHARS].split(","):
        if found := _RANGE.fullmatch(part):
            name, weight = found[1].lower(), float(found[2] or 1)
            weights[name] = max(weight, weights.get(name, 0))
    offered = [each for each in LANGUAGES if weights.get(each, 0) > 0]
    order = list(weights)
    return max(offered, key=lambda each: (weights[each], -order.index(each)), default=None)
