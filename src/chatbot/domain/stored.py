"""How a field is stored where its name and type do not say it: `field(metadata=Stored(...).metadata())`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

NO_DEFAULT = object()
_KEY = "stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a codec has to know about a field besides its name, type and default.

    `name` is the key in the stored form. `default` is the value where the key is absent, for
    records that are older than the field. `read_as` is the type of the stored value if it is
    another one; `clean` converts it to the field's value, and raises `ValueError` or `InvalidInput`
    where it is not `expected`. `is_sparse`: the default is not written. `is_inline`: the keys of
    the field's own fields are written beside the other keys.
    """

    name: str | None = None
    default: object = NO_DEFAULT
    read_as: Any = None
    clean: Callable[[Any], object] | None = None
    expected: str = ""
    is_sparse: bool = False
    is_inline: bool = False

    def metadata(self) -> Mapping[str, "Stored"]:
        """Return it as `dataclasses.field` takes it."""
        return {_KEY: self}


def stored_form(metadata: Mapping[str, object]) -> Stored:
    """Return what the metadata of a field says."""
    found = metadata.get(_KEY)
    return found if isinstance(found, Stored) else Stored()
