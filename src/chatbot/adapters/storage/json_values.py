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
Value = TypeVar("Value")

VERSION = 1
MAX_NUMBER = 2**63 - 1
_log = logging.getLogger("chatbot.storage")


class Corruption(StrEnum):
    """The kind of problem with a file."""

    DAMAGED = "damaged"
    NEWER = "newer"
    """Written by a newer version of the service; it is not touched."""
    FOREIGN = "foreign"
    """Not a file of the store."""


class Damaged(StorageUnavailable):
    """A file is damaged. The message says what is wrong, never the content."""

    def __init__(self, message: str, *, corruption: Corruption = Corruption.DAMAGED) -> None:
        super().__init__(message)
        self.corruption = corruption
        self.is_logged = False


@contextmanager
def logging_path_of_errors(path: Path) -> Iterator[None]:
    """Log the path of a damaged file; the error for the caller does not contain it."""
    try:
        yield
    except Damaged as damage:
        log_damage(path, damage)
        raise


def log_damage(path: Path, damage: Damaged) -> None:
    """Log the path of a damaged file, unless this was already done for this error."""
    if not damage.is_logged:
        damage.is_logged = True
        _log.error("%s: %s", path, damage)


# --- values: each function raises `ValueError` with what was expected ------------------------


def text(value: object) -> str:
    if not isinstance(value, str) or not is_storable(value):
        raise ValueError("a text")
    return value


def number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"a whole number from 0 to {MAX_NUMBER}")
    return value


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 # as all of these
    return value


def timestamp(value: object) -> datetime:
    """A time; one without a zone, as people and legacy files write it, is in UTC.

    In UTC it may be before year 1 or after year 9999: then it is the first or the last moment.
    """
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError as error:
        raise ValueError("a time") from error
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        return FIRST_MOMENT if moment.year == 1 else LAST_MOMENT


def array(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("a list")  # noqa: TRY004 # as all of these
    return value


def json_object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("an object")  # noqa: TRY004 # as all of these
    return value


class JsonObject:
    """The keys of a decoded JSON object, each read with the type that it must have."""

    def __init__(self, found: object, what: str) -> None:
        if not isinstance(found, dict):
            raise not_an_object(what)
        self.found: Json = found
        self._what = what

    def text(self, key: str) -> str:
        return self._read(key, text)

    def number(self, key: str, default: int | None = None) -> int:
        return self._read(key, number, default)

    def timestamp(self, key: str) -> datetime:
        return self._read(key, timestamp)

    def array(self, key: str, default: list[object] | None = None) -> list[object]:
        return self._read(key, array, default)

    def nested(self, key: str) -> Json:
        return self._read(key, json_object)

    def has(self, key: str) -> bool:
        return self.found.get(key) is not None

    def require_version(self, supported: int = VERSION) -> None:
        """Accept this version and older ones; files from before there were versions have none."""
        version = self.number("version", 0)
        if version > supported:
            raise Damaged(
                f"{self._what}: written by a newer version ({version}; this program "
                f"supports {supported})",
                corruption=Corruption.NEWER,
            )

    def error(self, key: str, expected: str) -> Damaged:
        return Damaged(f"{self._what}: {key} is not {expected}", corruption=Corruption.FOREIGN)

    def _read(
        self, key: str, read: Callable[[object], Value], default: object | None = None
    ) -> Value:
        try:
            return read(self.found.get(key, default))
        except ValueError as error:
            raise self.error(key, str(error)) from error


def not_an_object(what: str) -> Damaged:
    return Damaged(f"{what}: a JSON object was expected", corruption=Corruption.FOREIGN)


def dump(found: Json, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8, on one line without an indent; a lone surrogate, which has none, is escaped."""
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(found, ensure_ascii=False, separators=separators, indent=indent).encode()
    except UnicodeEncodeError:
        return json.dumps(found, separators=separators, indent=indent).encode()


def unique_object(pairs: list[tuple[str, object]]) -> Json:
    """A hook that rejects duplicate keys. Python may switch threads when it is called."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Damaged("duplicate key", corruption=Corruption.FOREIGN)
    return found


def load(
    raw: bytes, what: str, *, hook: Callable[[list[tuple[str, object]]], Json] | None = None
) -> object:
    """Decode JSON; a byte order mark before it is skipped. Without a hook no other thread runs.

    Raises:
        Damaged: it is not JSON, or not in UTF-8.
    """
    try:
        return json.loads(decode_utf8(raw), object_pairs_hook=hook)
    except (NotUtf8, Damaged) as error:
        raise Damaged(f"{what}: {error}", corruption=Corruption.FOREIGN) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what}: not JSON", corruption=Corruption.FOREIGN) from error
