"""Misspelt keys in documents that people edit.

Keys of other programs are kept. One that resembles a field was meant as that field: ignored, an
`is_activ: false` would leave a user active.
"""

from difflib import get_close_matches
from functools import lru_cache

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import Corruption, Damaged, Json, JsonObject
from chatbot.domain.ports.records import AnyKind

_RESEMBLING = 0.75
"""The required similarity, where 1 means equal:

`isActive` and `active` resemble `is_active`, `note` resembles nothing.
"""
_KEYS_KEPT = 1024


def require_no_misspelling(kind: AnyKind, found: object, what: str) -> Json:
    """Return the entry of a document.

    Raises:
        Damaged: it is not an object, or one of its keys resembles the name of a field that it lacks.
    """
    entry = JsonObject(found, what).found
    for key in entry.keys() - codec(kind.type).names:
        meant = _meant(kind, key)
        if meant is not None and meant not in entry:
            raise Damaged(
                f"{what}: a key is misspelt where {meant} is meant", corruption=Corruption.FOREIGN
            )
    return entry


@lru_cache(maxsize=_KEYS_KEPT)
def _meant(kind: AnyKind, key: str) -> str | None:
    word = key.strip().lower().replace("-", "_").replace(" ", "_")
    if word in kind.misnomers:
        return kind.misnomers[word]
    return next(iter(get_close_matches(word, sorted(codec(kind.type).names), 1, _RESEMBLING)), None)
