"""The port to blobs: bytes with a name, such as the file of a document.

A name is a path of lower-case words: `documents/<id>/1/content`. It is never reused for other
bytes, except after its removal.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

PART_BYTES = 1 << 20
"""The size of all parts but the last one."""
_NAME = re.compile("[a-z0-9_-]{1,64}(/[a-z0-9_-]{1,64}){1,7}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """The bytes with a name, as they are copied from store to store."""

    name: str
    data: bytes = field(repr=False)


class Blobs(Protocol):
    """The blobs of a store, as one transaction sees them."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Store bytes, replacing those with the same name.

        Raises:
            ValueError: the name is not valid.
        """

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """Return the bytes, or None."""

    @abstractmethod
    def get_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Return the existing blobs with these names."""

    @abstractmethod
    def part(self, name: str, number: int) -> bytes | None:
        """Return one part of `PART_BYTES`, counted from 0; None after the last one."""

    @abstractmethod
    def names(self, folder: str, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        """Return the names below a folder, such as `documents/<id>`, from the first one after
        `after`.
        """

    @abstractmethod
    def size(self, folder: str) -> int:
        """Return how many bytes the store uses for the blobs below a folder."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove the blob with this name, and all blobs below the folder with this name.

        No-op if absent.
        """


def is_blob_name(name: str) -> bool:
    """Whether a blob can have the name."""
    return _NAME.fullmatch(name) is not None


def require_blob_name(name: str) -> None:
    """Check that a blob can have the name.

    Raises:
        ValueError: it cannot.
    """
    if not is_blob_name(name):
        raise ValueError("The name of a blob is a path of lower-case words.")
