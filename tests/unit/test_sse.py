"""Server-sent events parsed from pieces split anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.adapters.llm.sse import MAX_EVENT_BYTES, EventData, EventTooLong

STREAM = (
    '\ufeff: a comment\n\ndata: {"a": "ñ👩‍👩‍👧"}\n\nevent: x\ndata: one\ndata:two\nid: 7\n\n'
    "\n\ndata\n\n:\n\nnonsense\n\ndata: [DONE]\n\n"
).encode()
EVENTS = ['{"a": "ñ👩‍👩‍👧"}'.encode(), b"one\ntwo", b"[DONE]"]


def read(pieces: list[bytes]) -> list[bytes]:
    events = EventData()
    return [data for piece in pieces for data in events.feed(piece)] + list(events.flush())


def cut(stream: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_wherever_the_network_cuts_once(newline: bytes) -> None:
    stream = STREAM.replace(b"\n", newline)
    for place in range(1, len(stream)):
        assert read(cut(stream, {place})) == EVENTS


@given(st.sets(st.integers(1, 2 * len(STREAM))), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_wherever_the_network_cuts(cuts: set[int], newline: bytes) -> None:
    assert read(cut(STREAM.replace(b"\n", newline), cuts)) == EVENTS


@given(st.lists(st.binary(max_size=60)))
def test_no_bytes_make_the_reader_fail(pieces: list[bytes]) -> None:
    read(pieces)


def test_an_event_without_its_blank_line_is_given_at_the_end() -> None:
    assert read([b"data: last"]) == [b"last"]


@pytest.mark.parametrize("piece", [b"x" * 4096, b"data: " + b"x" * 4096 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    with pytest.raises(EventTooLong):
        read([piece] * (MAX_EVENT_BYTES // 4096 + 1))
