"""Records as JSON and back: what is written, what is accepted, and what is reported as damage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

import pytest

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import Corruption, Damaged
from chatbot.domain.stored import Stored

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    end: str = ""
    more: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str = field(metadata=Stored(name="called").metadata())
    made_at: datetime
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    is_new: bool = False
    note: str | None = None
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)
    colours: frozenset[Colour] = frozenset()
    rare: int = field(default=0, metadata=Stored(is_sparse=True).metadata())
    tail: Tail = field(default_factory=Tail, metadata=Stored(is_inline=True).metadata())


PLAIN = {
    "called": "x",
    "made_at": "2026-03-01T12:00:00.000000Z",
    "colour": "red",
    "kind": "a",
    "is_new": False,
    "parts": [],
    "by_name": {},
    "colours": [],
    "end": "",
    "more": [],
}


def test_record_is_written_with_its_defaults_and_read_back() -> None:
    thing = Thing(name="x", made_at=NOON)
    assert codec(Thing).to_json(thing) == PLAIN
    assert codec(Thing).from_json(PLAIN, "thing") == thing


def test_sparse_and_null_fields_are_written_where_they_are_set() -> None:
    thing = Thing(name="x", made_at=NOON, note="n", rare=2, tail=Tail(end="e", more=(1,)))
    written = codec(Thing).to_json(thing)
    assert written == PLAIN | {"note": "n", "rare": 2, "end": "e", "more": [1]}
    assert codec(Thing).from_json(written, "thing") == thing


def test_older_record_without_a_field_has_its_default_and_unknown_keys_are_ignored() -> None:
    old = {"called": "x", "made_at": "2026-03-01T12:00:00Z", "of a newer version": 1}
    assert codec(Thing).from_json(old, "thing") == Thing(name="x", made_at=NOON)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"called": 7}, "thing: called is not a text"),
        ({"called": "\ud800"}, "thing: called is not a text"),
        ({"made_at": "SECRET"}, "thing: made_at is not a time"),
        ({"colour": "SECRET"}, "thing: colour is not a known word"),
        ({"kind": ["SECRET"]}, "thing: kind is not a known word"),
        ({"is_new": None}, "thing: is_new is not true or false"),
        ({"parts": {}}, "thing: parts is not a list"),
        ({"parts": ["SECRET"]}, "thing: parts is not a list of what it should hold"),
        ({"parts": [{"name": "SECRET", "size": True}]}, "thing: size is not a whole number"),
        ({"by_name": {"SECRET": {"size": 1}}}, "thing: name is missing"),
        ({"more": [1.5]}, "thing: more is not a list of what it should hold"),
    ],
)
def test_damage_is_named_by_its_field_and_quotes_nothing(
    change: dict[str, object], words: str
) -> None:
    with pytest.raises(Damaged) as raised:
        codec(Thing).from_json(PLAIN | change, "thing")
    assert str(raised.value).startswith(words)
    assert "SECRET" not in str(raised.value)
    assert raised.value.corruption is Corruption.FOREIGN


def test_missing_field_and_non_object_are_damage() -> None:
    with pytest.raises(Damaged, match="thing: made_at is missing"):
        codec(Thing).from_json({"called": "x"}, "thing")
    with pytest.raises(Damaged, match="thing: a JSON object was expected"):
        codec(Thing).from_json([], "thing")


def test_type_without_a_stored_form_is_refused_when_it_is_compiled() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="no stored form"):
        codec(Odd)
