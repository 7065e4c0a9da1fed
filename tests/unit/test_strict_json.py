"""`strict_json.decode` accepts one unambiguous JSON value and rejects everything else."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.entrypoints.http.strict_json import MAX_DEPTH, MAX_VALUES, NotStrictJson, decode

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def is_accepted(body: bytes) -> bool:
    try:
        decode(body)
    except NotStrictJson:
        return False
    return True


@settings(max_examples=50)
@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_every_value_is_accepted_however_it_is_written(
    value: object, ascii_only: bool, indent: int | str | None
) -> None:
    decode(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_either_accepted_or_refused(body: bytes) -> None:
    if is_accepted(body):
        json.loads(body.decode("utf-8"))


@given(st.text(st.sampled_from('{}[]",:\\u0dD8123e+-. \n\x00\x7fñ'), max_size=60))
def test_accepted_json_is_valid_for_python(text: str) -> None:
    if is_accepted(text.encode()):
        json.loads(text)


@settings(max_examples=50)
@given(VALUES, st.data())
def test_accepted_json_can_be_serialized_and_parsed_again(
    value: object, data: st.DataObject
) -> None:
    """Almost-JSON bytes: a valid text with a few changes."""
    body = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.sampled_from(PIECES))
    if not is_accepted(bytes(body)):
        return
    found = json.loads(bytes(body))
    assert depth_of(found) <= MAX_DEPTH
    again = json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    decode(again)
    assert json.loads(again) == found


PIECES = [
    *(b"", b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"0", b"-", b"e9", b"9e999", b"\xff"),
    *(
        b"\\ud83d",
        b"\\ude00",
        b"\\u0000",
        b"\0",
        b"[" * 40,
        b"]" * 40,
        b"null",
        b"NaN",
        b"\xc3\xb1",
    ),
]


def depth_of(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0)


@given(TEXTS, TEXTS)
def test_refusal_never_repeats_the_body(before: str, after: str) -> None:
    canary = "canary4711"
    body = json.dumps([before, canary, after]).encode()[:-1]
    with pytest.raises(NotStrictJson) as refusal:
        decode(body)
    assert canary not in str(refusal.value)


@settings(max_examples=30)
@given(TEXTS, VALUES, VALUES)
def test_duplicate_key_is_refused_however_it_is_escaped(
    key: str, first: object, second: object
) -> None:
    escaped = "".join(f"\\u{unit:04x}" for unit in _utf16_units(key))
    fields = f'{json.dumps(key)}: {json.dumps(first)}, "{escaped}": {json.dumps(second)}'
    assert not is_accepted(f"{{{fields}}}".encode())
    assert not is_accepted(f'[{{"deeper": {{{fields}}}}}]'.encode())


def _utf16_units(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


@given(TEXTS, TEXTS, st.integers(0xD800, 0xDFFF))
def test_lone_surrogate_is_refused_as_value_and_as_key(
    before: str, after: str, surrogate: int
) -> None:
    quoted = f"{json.dumps(before)[:-1]}\\u{surrogate:04x}{json.dumps(after)[1:]}"
    if any("\ud800" <= char <= "\udfff" for char in json.loads(quoted)):
        assert not is_accepted(quoted.encode())
        assert not is_accepted(f'{{"a": [{{{quoted}: 1}}]}}'.encode())


@given(TEXTS, TEXTS)
def test_nul_is_refused_escaped_and_raw(before: str, after: str) -> None:
    escaped = f"{json.dumps(before)[:-1]}\\u0000{json.dumps(after)[1:]}"
    assert not is_accepted(f"[{escaped}]".encode())
    assert not is_accepted(escaped.replace("\\u0000", "\0").encode())


@pytest.mark.parametrize("text", ["\\u0000 is written so", "\\ud800", "C:\\\\u0000"])
def test_escaped_backslash_before_a_u_is_text(text: str) -> None:
    decode(json.dumps({"prompt": text}).encode())


@pytest.mark.parametrize("open_, close", [("[", "]"), ('{"a":', "}")])  # noqa: PT006 # one name has an underscore
def test_depth_is_bounded_and_brackets_in_texts_do_not_count(open_: str, close: str) -> None:
    deepest = open_ * MAX_DEPTH + "0" + close * MAX_DEPTH
    decode(deepest.encode())
    assert not is_accepted(f"[{deepest}]".encode())
    decode(json.dumps('\\"' + open_ * 1000).encode())
    decode(b"[" + b",".join([b"[0]"] * 1000) + b"]")


@pytest.mark.parametrize("brackets", [b"[", b'{"a":', b"[{", b"]", b"}"])
def test_endless_brackets_are_refused_quickly(brackets: bytes) -> None:
    assert not is_accepted(brackets * 20_000)


@pytest.mark.parametrize(
    "body", [b'"' * 40_001, b'"\\' * 30_000, b'"' + b"\\" * 60_000, b"1" * 60_000]
)
def test_hostile_text_takes_linear_time(body: bytes) -> None:
    """A quadratic search would block the event loop for seconds at 60 KB."""
    began = time.thread_time()
    assert not is_accepted(body)
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "body",
    [
        *(b"1e999", b"[-1e999]", b'{"a": 9999e999}'),
        *(b"", b" ", b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b'{"a": -Infinity}'),
        *(
            b"{} {}",
            b"{,}",
            b"[1,]",
            b"'a'",
            b"// a\n1",
            b"01",
            b"1.",
            b"+1",
            b"\xff",
            b'"\xed\xa0\x80"',
        ),
        *('"a"'.encode("utf-16"), "\ufeff1".encode(), b'"\t"', b"nan", b"True"),
    ],
)
def test_invalid_json_is_refused(body: bytes) -> None:
    assert not is_accepted(body)


@pytest.mark.parametrize(
    "value",
    [
        [0] * (MAX_VALUES + 1),
        {f"key{n}": n for n in range(MAX_VALUES + 1)},
        [[0] * 100] * 21,
        {"facts": ["a"] * MAX_VALUES},
    ],
)
def test_body_of_very_many_values_is_refused(value: object) -> None:
    with pytest.raises(NotStrictJson):
        decode(json.dumps(value).encode())


def test_body_with_the_maximum_number_of_values_is_accepted() -> None:
    assert decode(json.dumps([0] * MAX_VALUES).encode()) == [0] * MAX_VALUES


@pytest.mark.parametrize("body", ["[" + "[]," * 21_000 + "[]]", '["",' + '"",' * 21_000 + '""]'])
def test_very_many_values_are_refused_before_they_are_parsed(
    monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(NotStrictJson, match="values"):
        decode(body.encode())


def test_as_many_marks_as_the_values_may_have_are_taken() -> None:
    values: list[object] = [{f"key {n}": [] for n in range(MAX_VALUES)}, ["text"] * MAX_VALUES]
    for value in values:
        assert decode(json.dumps(value).encode()) == value
