"""The canonical text of a dataclass, by which states of an object are compared and signed."""

import json
from datetime import datetime
from typing import Any, ClassVar, Protocol

from chatbot.domain.text import rfc3339


class Dataclass(Protocol):
    """What `dataclasses.asdict` takes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def canonical_json(value: object) -> str:
    """Return compact JSON with sorted names and sets: equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_json)


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")
