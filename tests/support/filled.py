"""Values whose every field differs from its default, so that a lost field is noticed."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from samples import T0

Record = TypeVar("Record")


def filled(record_type: type[Record], **given: Any) -> Record:
    """A record with a distinct value for each field; `given` where not every value is valid."""
    hints = get_type_hints(record_type)
    own = fields(record_type)  # type: ignore[arg-type] # a dataclass
    made = {each.name: given.get(each.name, _of(hints[each.name], each)) for each in own}
    for each in own:
        assert made[each.name] != _default(each), f"{each.name} has its default"
    return record_type(**made)


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _of(hint: Any, field: Field[Any]) -> Any:
    hint = getattr(hint, "__supertype__", hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _of(next(each for each in arguments if each is not NoneType), field)
    if origin in {tuple, frozenset}:
        return origin([_of(arguments[0], field)])
    if origin is Mapping:
        return {"key": _of(arguments[1], field)}
    if origin is Literal:
        return arguments[-1]
    return _plain(hint, field)


def _plain(hint: Any, field: Field[Any]) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return filled(hint)
    if issubclass(hint, StrEnum):
        return list(hint)[-1]
    values = {str: f"of {field.name}", int: 7, float: 0.5, datetime: T0, bool: not field.default}
    return values[hint]
