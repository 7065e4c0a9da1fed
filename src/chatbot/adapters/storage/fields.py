"""JSON that is validated while it is read: malformed data raises `Damaged`."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.text import FIRST_MOMENT, LAST_MOMENT, NotUtf8, decode_utf8, is_storable

Json = dict[str, object]
Choice = TypeVar("Choice", bound=StrEnum)

VERSION = 1
_log = logging.getLogger("chatbot.storage")


class Flaw(StrEnum):
    """In which way a file is not as the store left it."""

    DAMAGED = "damaged"
    NEWER = "newer"
    """Written by a newer version of the service; it is not touched."""
    FOREIGN = "foreign"
    """Not a file of the store."""


class Damaged(StorageUnavailable):
    """A file cannot be trusted. The message says what is wrong, never the content."""

    def __init__(self, message: str, *, flaw: Flaw = Flaw.DAMAGED) -> None:
        super().__init__(message)
        self.flaw = flaw


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Log the path of a damaged file; the error for the caller does not contain it."""
    try:
        yield
    except Damaged as damage:
        _log.error("%s: %s", path, damage)
        raise


class Fields:
    """The keys of a decoded JSON object, each read with the type that it must have."""

    def __init__(self, found: object, what: str) -> None:
        if not isinstance(found, dict):
            raise Damaged(f"{what}: a JSON object was expected", flaw=Flaw.FOREIGN)
        self.found: Json = found
        self._what = what

    def text(self, key: str, default: str | None = None) -> str:
        value = self.found.get(key, default)
        if not isinstance(value, str) or not is_storable(value):
            raise self.wrong(key, "a text")
        return value

    def number(self, key: str, default: int | None = None, *, most: int = 2**63 - 1) -> int:
        value = self.found.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.wrong(key, f"a whole number from 0 to {most}")
        return value

    def truth(self, key: str, *, default: bool) -> bool:
        value = self.found.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def moment(self, key: str) -> datetime:
        """A time; one without a zone, as people and the first MVP write it, is in UTC.

        In UTC it may be before year 1 or after year 9999: then it is the first or the last moment.
        """
        try:
            moment = datetime.fromisoformat(self.text(key))
        except ValueError as error:
            raise self.wrong(key, "a time") from error
        if moment.tzinfo is UTC:
            return moment
        try:
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except OverflowError:
            return FIRST_MOMENT if moment.year == 1 else LAST_MOMENT

    def choice(self, key: str, choices: type[Choice]) -> Choice:
        try:
            return choices(self.text(key))
        except ValueError as error:
            raise self.wrong(key, "a known word") from error

    def list(self, key: str, default: list[object] | None = None) -> list[object]:
        value = self.found.get(key, default)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def object(self, key: str) -> Json:
        value = self.found.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return value

    def has(self, key: str) -> bool:
        return self.found.get(key) is not None

    def require_version(self) -> None:
        """Accept this version and older ones; files from before there were versions have none."""
        version = self.number("version", 0)
        if version > VERSION:
            newer = (
                f"{self._what}: written by a newer version ({version}; this program "
                f"supports {VERSION})"
            )
            raise Damaged(newer, flaw=Flaw.NEWER)

    def wrong(self, key: str, expected: str) -> Damaged:
        return Damaged(f"{self._what}: {key} is not {expected}", flaw=Flaw.FOREIGN)


def dump(found: Json, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8, on one line without an indent; a lone surrogate, which has none, is escaped."""
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(found, ensure_ascii=False, separators=separators, indent=indent).encode()
    except UnicodeEncodeError:
        return json.dumps(found, separators=separators, indent=indent).encode()


def plain_object(pairs: list[tuple[str, object]]) -> Json:
    """A hook that only makes the object: where it is called, Python lets another thread run."""
    return dict(pairs)


def load(
    raw: bytes, what: str, *, hook: Callable[[list[tuple[str, object]]], Json] | None = None
) -> object:
    """Decode JSON; a byte order mark before it is skipped. Without a hook no other thread runs.

    Raises:
        Damaged: it is not JSON, or not in UTF-8.
    """
    try:
        return json.loads(decode_utf8(raw), object_pairs_hook=hook)
    except NotUtf8 as error:
        raise Damaged(f"{what}: {error}", flaw=Flaw.FOREIGN) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what}: not JSON", flaw=Flaw.FOREIGN) from error
