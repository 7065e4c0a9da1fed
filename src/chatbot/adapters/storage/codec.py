"""Dataclasses as JSON and back, compiled from their fields and types.

A field that a stored record lacks has its default, and a key that is not a field is ignored: a new
field with a default changes nothing here and makes no older record unreadable. Where name and type
do not suffice, the field's metadata says more: see `chatbot.domain.stored`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from chatbot.adapters.storage.json_values import (
    Corruption,
    Damaged,
    Json,
    array,
    boolean,
    json_object,
    not_an_object,
    number,
    text,
    timestamp,
)
from chatbot.domain.errors import InvalidInput
from chatbot.domain.stored import NO_DEFAULT, Stored, stored_form
from chatbot.domain.text import rfc3339

Record = TypeVar("Record")
Read = Callable[[Any], Any]
"""Raises `ValueError` with what was expected, or `_Invalid`."""
Write = Callable[[Any], object]

_SCALARS: Mapping[object, tuple[Read, Write | None]] = {
    str: (text, None),
    int: (number, None),
    bool: (boolean, None),
    Any: (lambda value: value, None),
    datetime: (timestamp, rfc3339),
}


class _Invalid(Exception):  # becomes `Damaged`
    """A field is not what was expected; the message names it, and quotes no content."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """One field. `path` leads from the record to its value, through fields that are inline."""

    path: str
    name: str
    read: Read
    write: Write | None
    default: object
    """The value that is not written; `MISSING` if every value is written."""
    missing: object
    """The value where the key is absent; `NO_DEFAULT` for the dataclass's own default."""
    is_required: bool
    is_nullable: bool


class Codec(Generic[Record]):
    """The JSON form of a dataclass."""

    def __init__(self, record_type: type[Record]) -> None:
        self._type = record_type
        hints = get_type_hints(record_type)
        own = fields(record_type)  # type: ignore[arg-type] # a dataclass
        self._inline = {
            each.name: codec(_plain(hints[each.name]))
            for each in own
            if stored_form(each.metadata).is_inline
        }
        self._fields = [
            _compiled(each, hints[each.name]) for each in own if each.name not in self._inline
        ]
        self.written = list(self._in_order(each.name for each in own))
        self.names = frozenset(each.name for each in self.written)
        self.to_json: Callable[[Record], Json] = _writer(self.written)

    def _in_order(self, names: Iterator[str]) -> Iterator[_Compiled]:
        own = {each.path: each for each in self._fields}
        for name in names:
            if name in own:
                yield own[name]
            else:
                inner = self._inline[name].written
                yield from (replace(each, path=f"{name}.{each.path}") for each in inner)

    def from_json(self, found: object, what: str) -> Record:
        """Read a record.

        Raises:
            Damaged: it does not have the expected form; the message quotes none of it.
        """
        try:
            return self.read(found)
        except _Invalid as error:
            raise Damaged(f"{what}: {error}", corruption=Corruption.FOREIGN) from error
        except ValueError as error:
            raise not_an_object(what) from error

    def read(self, found: object) -> Record:
        stored = json_object(found)
        values: dict[str, object] = {}
        for field in self._fields:
            value = stored.get(field.name, MISSING)
            if value is MISSING or (value is None and field.is_nullable):
                if field.is_required:
                    raise _Invalid(f"{field.name} is missing")
                if field.missing is not NO_DEFAULT:
                    values[field.path] = field.missing
                continue
            try:
                values[field.path] = field.read(value)
            except ValueError as error:
                raise _Invalid(f"{field.name} is not {error}") from error
        for name, inner in self._inline.items():
            values[name] = inner.read(stored)
        return self._type(**values)


def _writer(written: Iterable[_Compiled]) -> Callable[[Any], Json]:
    """Return a function that makes one dictionary of all fields, then adds those that are sparse.

    It is compiled from source, as `dataclasses` does it: a loop over the fields takes three times
    as long for the small items of a memory.
    """
    always, sometimes, scope = "", "", dict[str, Any]()
    for n, each in enumerate(written):
        scope[f"write{n}"], scope[f"default{n}"] = each.write, each.default
        value = f"write{n}(record.{each.path})" if each.write else f"record.{each.path}"
        if each.default is MISSING:
            always += f"{each.name!r}: {value}, "
        else:
            sometimes += f"  if record.{each.path} != default{n}: found[{each.name!r}] = {value}\n"
    source = f"def to_json(record):\n  found = {{{always}}}\n{sometimes}  return found\n"
    exec(source, scope)  # noqa: S102 # names of dataclasses only
    return cast("Callable[[Any], Json]", scope["to_json"])


_CODECS: dict[type, Codec[Any]] = {}


def codec(record_type: type[Record]) -> Codec[Record]:
    """Return the codec of a dataclass, compiled once."""
    if record_type not in _CODECS:
        _CODECS[record_type] = Codec(record_type)
    return _CODECS[record_type]


def _compiled(field: Field[Any], hint: object) -> _Compiled:
    form = stored_form(field.metadata)
    read, write = _converters(hint)
    if form.read_as is not None:
        read, _ = _converters(form.read_as)
    if form.clean is not None:
        read = _cleaning(read, form)
    has_default = field.default is not MISSING or field.default_factory is not MISSING
    is_required = not has_default and form.default is NO_DEFAULT
    is_optional = NoneType in get_args(hint)
    is_object = is_dataclass(_plain(hint)) or _plain(hint) is datetime
    is_sparse = form.is_sparse or (is_optional and field.default is None)
    return _Compiled(
        path=field.name,
        name=form.name or field.name,
        read=read,
        write=write,
        default=field.default if is_sparse else MISSING,
        missing=form.default,
        is_required=is_required,
        is_nullable=is_optional or (is_object and not is_required),
    )


def _converters(hint: object) -> tuple[Read, Write | None]:
    """Return the reader of a type, and its writer if values need conversion.

    Raises:
        TypeError: the type has no stored form.
    """
    plain = _plain(hint)
    if plain in _SCALARS:
        return _SCALARS[plain]
    if isinstance(plain, type) and issubclass(plain, StrEnum):
        return _one_of({each.value: each for each in plain}), attrgetter("value")
    if isinstance(plain, type) and is_dataclass(plain):
        return codec(plain).read, codec(plain).to_json
    return _of_generic(get_origin(plain), get_args(plain))


def _of_generic(origin: object, arguments: tuple[Any, ...]) -> tuple[Read, Write | None]:
    if origin is Literal:
        return _one_of({each: each for each in arguments}), None
    if origin is tuple or origin is frozenset:
        return _list_of(_converters(arguments[0]), collect=origin)
    if origin is Mapping:
        return _object_of(_converters(arguments[1]))
    raise TypeError(f"{origin} of {arguments} has no stored form")


def _plain(hint: object) -> Any:  # noqa: ANN401 # a type, which has no type of its own
    """Return the type inside a `NewType` or a union with `None`."""
    hint = getattr(hint, "__supertype__", hint)
    others = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) in {Union, UnionType} and len(others) == 1:
        return _plain(others[0])
    return hint


def _one_of(choices: Mapping[object, object]) -> Read:
    def read(value: object) -> object:
        if not isinstance(value, str) or value not in choices:
            raise ValueError("a known word")
        return choices[value]

    return read


def _list_of(item: tuple[Read, Write | None], *, collect: Any) -> tuple[Read, Write]:  # noqa: ANN401 # a type
    read_item, write_item = item

    def read(value: object) -> object:
        try:
            return collect(map(read_item, array(value)))
        except ValueError as error:
            raise ValueError("a list of what it should hold") from error

    def write(value: Iterable[Any]) -> list[object]:
        found = list(value) if write_item is None else [write_item(each) for each in value]
        return sorted(found) if collect is frozenset else found  # type: ignore[type-var] # words or numbers

    return read, write


def _object_of(item: tuple[Read, Write | None]) -> tuple[Read, Write]:
    read_item, write_item = item

    def read(value: object) -> object:
        return {key: read_item(each) for key, each in json_object(value).items()}

    def write(value: Mapping[str, Any]) -> Json:
        return {key: write_item(each) if write_item else each for key, each in value.items()}

    return read, write


def _cleaning(read: Read, form: Stored) -> Read:
    def read_clean(value: object) -> object:
        try:
            return form.clean(read(value)) if form.clean else read(value)
        except (ValueError, InvalidInput) as error:
            raise ValueError(form.expected or str(error)) from error

    return read_clean
