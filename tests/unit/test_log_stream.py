"""An unread log loses lines but never blocks a response."""

import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from chatbot.entrypoints.log_stream import UnblockedStream

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot detect a full pipe")
WITHIN_S = 10
LINE = "x" * 199 + "\n"

Pipe = tuple[int, TextIO]


def fail(count: int) -> None:
    raise AssertionError(f"{count} lines were dropped")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    os.close(reading)


def read_lines(fd: int, until: str) -> list[str]:
    found = b""
    while until.encode() not in found:
        found += os.read(fd, 65_536)
    return found.decode().splitlines()


def written(stream: UnblockedStream, count: int) -> float:
    """The seconds it took to write this many lines."""
    began = time.monotonic()
    for number in range(count):
        stream.write(f"{number:05} {LINE}")
    return time.monotonic() - began


@pytest.mark.parametrize("is_shared", [False, True])
def test_lines_that_are_read_arrive_in_their_order(pipe: Pipe, *, is_shared: bool) -> None:
    stream = UnblockedStream(pipe[1], is_shared=is_shared, on_dropped=fail)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.extend(read_lines(pipe[0], "end")))
    reader.start()
    written(stream, 2000)
    stream.write("long " + "y" * 30_000 + "\n")
    stream.write("end\n")
    reader.join(WITHIN_S)
    assert [line[:5] for line in found[:2000]] == [f"{n:05}" for n in range(2000)]
    assert len(found[2000]) == 30_005
    assert found[2001:] == ["end"]


@POSIX
@pytest.mark.parametrize("is_shared", [False, True])
def test_unread_pipe_delays_no_request_and_lost_lines_are_counted(
    pipe: Pipe, *, is_shared: bool
) -> None:
    dropped: list[int] = []
    stream = UnblockedStream(
        pipe[1], is_shared=is_shared, on_dropped=dropped.append, max_bytes=20_000
    )
    assert written(stream, 3000) < WITHIN_S / 2
    found = b""
    while found.count(b"\n") + sum(dropped) < 3000:
        if select.select([pipe[0]], [], [], 0.05)[0]:  # the count comes after the last line
            found += os.read(pipe[0], 65_536)
    kept = [int(line[:5]) for line in found.splitlines()]
    assert kept == sorted(kept)
    assert len(kept) > 90, "what the queue takes is not lost"
    assert dropped
    stream.write("end\n")
    assert read_lines(pipe[0], "end") == ["end"]


@POSIX
def test_process_exit_waits_a_bounded_time_for_unread_log_lines(pipe: Pipe) -> None:
    stream = UnblockedStream(pipe[1], is_shared=False, on_dropped=lambda _: None)
    written(stream, 1000)
    began = time.monotonic()
    stream.drain(0.05)
    assert time.monotonic() - began < WITHIN_S / 2


@POSIX
def test_closed_log_reader_loses_only_log_lines() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as gone:
        for is_shared in (False, True):
            stream = UnblockedStream(gone, is_shared=is_shared, on_dropped=fail)
            written(stream, 10)
            stream.drain(WITHIN_S)
