"""The answers of processes that read files, which may be malformed."""

import io
import struct

import pytest

from chatbot.adapters.extraction import answers, frames
from chatbot.domain.extraction import FailureReason
from chatbot.domain.passages import DocumentPassage
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed


def passage(text: str, *, heading: str = "", start: int = 0) -> DocumentPassage:
    return DocumentPassage(heading=heading, text=text, start=start, end=start + len(text))


def written(*passages: DocumentPassage, title: str = "") -> bytes:
    stream = io.BytesIO()
    frames.write_passages(stream, title, passages)
    return stream.getvalue()


def frame(kind: int, payload: bytes, *, start: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">BII", kind, len(payload) if length is None else length, start) + payload


def read(raw: bytes) -> Extracted:
    return answers.read(io.BytesIO(raw), "text/plain")


def failure(raw: bytes) -> FailureReason:
    with pytest.raises(ExtractionFailed) as caught:
        read(raw)
    return caught.value.reason


def test_an_answer_is_read_as_it_was_written_without_what_cannot_be_stored() -> None:
    first, second = passage("a\0b\ud800", heading="h"), passage("c", start=6)
    found = read(written(first, second, title="t"))
    assert found.title == "t"
    assert found.passages == [passage("a\ufffdb?", heading="h"), second]


@pytest.mark.parametrize(
    "raw",
    [
        written(passage("text"))[:-1],
        written(passage("text")) + b"x",
        frame(9, b""),
        frame(3, b"", length=2**31),
        frame(3, b"x" * 5000) + frame(4, b""),
        frame(2, b"x" * 5000),
        frame(3, b"\xff\xfe") + frame(4, b""),
        frame(5, b"what"),
        frame(3, b"") + frame(4, b""),
        frame(3, b"ab") + frame(3, b"c", start=1) + frame(4, b""),
        frame(3, b"a", start=2**31) + frame(4, b""),
    ],
)
def test_a_malformed_answer_is_a_crash(raw: bytes) -> None:
    assert failure(raw) is FailureReason.CRASHED


def test_an_answer_has_at_most_three_times_the_longest_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "_MOST_BYTES", 50)
    two = passage("x" * 30), passage("y" * 30, start=30)
    assert failure(written(*two)) is FailureReason.CRASHED


def test_an_answer_has_at_most_as_many_passages_as_a_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    three = [passage("x", start=start) for start in range(3)]
    monkeypatch.setattr(answers, "MAX_PASSAGES", 3)
    assert len(read(written(*three)).passages) == 3
    monkeypatch.setattr(answers, "MAX_PASSAGES", 2)
    assert failure(written(*three)) is FailureReason.CRASHED


def test_an_answer_without_passages_has_no_text_and_a_reason_is_passed_on() -> None:
    assert failure(written()) is FailureReason.NO_TEXT
    stream = io.BytesIO()
    frames.write_failure(stream, FailureReason.ENTITIES)
    assert failure(stream.getvalue()) is FailureReason.ENTITIES
