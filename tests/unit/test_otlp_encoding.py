"""Spans are encoded as the protocol defines it: fields by their numbers, as protoc prints them."""

import struct

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, DEFAULT_ON, TraceIdRatioBased

from chatbot.adapters.telemetry import encoding
from chatbot.adapters.telemetry.tracing import Tracer
from chatbot.domain.ports.telemetry import current_trace

Fields = list[tuple[int, int | bytes]]


def fields(data: bytes) -> Fields:
    """The fields of a message: number and value (https://protobuf.dev/programming-guides/encoding/)."""
    found: Fields = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        number, kind = tag >> 3, tag & 7
        size = {0: 0, 1: 8, 2: -1, 5: 4}[kind]
        if kind == 0:
            found.append((number, varint()))
            continue
        size = varint() if kind == 2 else size
        found.append((number, data[at : at + size]))
        at += size
    return found


def value_of(data: bytes) -> int | bytes:
    ((_, value),) = fields(data)
    return value


def attributes(span: bytes) -> dict[bytes, Fields]:
    found = {}
    for number, value in fields(span):
        if number == 9:
            assert isinstance(value, bytes)
            (_, key), (_, any_value) = fields(value)
            assert isinstance(key, bytes)
            assert isinstance(any_value, bytes)
            found[key] = fields(any_value)
    return found


def test_span_has_its_ids_name_kind_times_status_and_flags() -> None:
    span = dict(
        fields(
            encoding.span(
                "GET /é", 2, (1, 2, 3), (10, 20), {}, trace_state="a=b", is_error=True,
                has_remote_parent=True,
            )
        )
    )  # fmt: skip
    assert span == {
        1: (1).to_bytes(16, "big"),
        2: (2).to_bytes(8, "big"),
        3: b"a=b",
        4: (3).to_bytes(8, "big"),
        5: "GET /é".encode(),
        6: 2,
        7: struct.pack("<Q", 10),
        8: struct.pack("<Q", 20),
        15: b"\x18\x02",
        16: struct.pack("<I", 0x300),
    }


def test_span_without_parent_and_error_lacks_their_fields() -> None:
    numbers = {number for number, _ in fields(encoding.span("a", 1, (1, 2, 0), (1, 2), {}))}
    assert numbers == {1, 2, 5, 6, 7, 8, 16}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", [(1, b"text")]),
        ("x" * 300, [(1, b"x" * 300)]),
        (True, [(2, 1)]),
        (False, [(2, 0)]),
        (1, [(3, 1)]),
        (0, [(3, 0)]),
        (10**9, [(3, 10**9)]),
        (-1, [(3, 2**64 - 1)]),
        (0.5, [(4, struct.pack("<d", 0.5))]),
        (("stop",), [(5, b"\x0a\x06\x0a\x04stop")]),
        ("\ud800", [(1, b"?")]),
    ],
)
def test_each_kind_of_value_is_encoded(value: encoding.Value, expected: Fields) -> None:
    """True and 1 are equal, so a cache that mixed them up would be wrong."""
    span = encoding.span("a", 1, (1, 2, 0), (1, 2), {"other": 1, "key": value, "another": True})
    assert attributes(span) == {b"other": [(3, 1)], b"key": expected, b"another": [(2, 1)]}


def test_request_has_the_resource_and_the_scope_once() -> None:
    spans = [encoding.span(name, 1, (1, 2, 0), (1, 2), {}) for name in ("a", "b")]
    body = encoding.request({"service.name": "chatbot"}, ("chatbot", "1.0"), spans)

    resource_spans = value_of(body)
    assert isinstance(resource_spans, bytes)
    (_, resource), (_, scope_spans) = fields(resource_spans)
    assert isinstance(resource, bytes)
    assert isinstance(scope_spans, bytes)
    assert b"service.name" in resource
    (first, scope), *rest = fields(scope_spans)
    assert (first, scope) == (1, b"\x0a\x07chatbot\x12\x031.0")
    assert rest == [(2, span) for span in spans]


def test_prompts_are_not_kept_in_the_cache_of_attributes() -> None:
    before = encoding.cached_attribute.cache_info().currsize
    encoding.span("a", 1, (1, 2, 0), (1, 2), {"gen_ai.input.messages": "a prompt " * 100})
    assert encoding.cached_attribute.cache_info().currsize == before


@pytest.mark.parametrize(
    ("sampler", "sampled"),
    [(DEFAULT_ON, True), (ALWAYS_ON, True), (ALWAYS_OFF, False), (TraceIdRatioBased(0), False)],
)
def test_parts_of_a_trace_follow_the_decision_of_the_sampler(
    sampler: object, *, sampled: bool
) -> None:
    exported: list[object] = []
    tracer = Tracer(sampler, exported.append)  # type: ignore[arg-type] # of any of its classes
    with tracer.begin_trace("a") as first, tracer.begin("b") as second:
        assert second.ids[0] == first.ids[0]
        assert current_trace.get() == second.ids
    assert current_trace.get() is None
    assert len(exported) == (2 if sampled else 0)
