"""The processes from which those that read files are forked."""

import asyncio
import os
import select
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from chatbot.adapters.extraction import answers, subprocess_extractor
from chatbot.adapters.extraction.fork_client import ForkClient
from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from chatbot.domain.ports.extraction import ExtractionFailed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="each file has a new process")


@pytest.fixture
async def processes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[ForkClient]]:
    """The processes that an extractor starts; those that can be used again."""
    made: list[ForkClient] = []

    def noted(command: Sequence[str], *, timeout_s: float) -> ForkClient:
        made.append(ForkClient(command, timeout_s=timeout_s))
        return made[-1]

    monkeypatch.setattr(subprocess_extractor, "Process", noted)
    yield made
    assert not any(process.is_usable for process in made), "none is left"


async def test_a_server_reads_one_file_after_the_other_and_another_one_at_the_same_time(
    processes: list[ForkClient], tmp_path: Path
) -> None:
    extractor, path = SubprocessExtractor(max_bytes=99), tmp_path / "a"
    path.write_bytes(b"one")
    for name in ("a.txt", "a.md", "a.json", "a.txt"):  # one of them fails
        with suppress(ExtractionFailed):
            await extractor.extract(path, "", name)
    assert len(processes) == 1
    await asyncio.gather(*(extractor.extract(path, "", "a.txt") for _ in range(2)))
    assert len(processes) == 2
    await extractor.aclose()


async def test_a_server_that_waits_for_too_long_or_has_ended_is_replaced(
    processes: list[ForkClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess_extractor, "_IDLE_SECONDS", 0.01)
    extractor, path = SubprocessExtractor(max_bytes=99), tmp_path / "a"
    path.write_bytes(b"one")
    await extractor.extract(path, "", "a.txt")
    while processes[0].is_usable:  # noqa: ASYNC110 # the loop's clock ends it
        await asyncio.sleep(0.01)
    monkeypatch.setattr(subprocess_extractor, "_IDLE_SECONDS", 60)
    await extractor.extract(path, "", "a.txt")
    processes[1].kill()  # as the kernel does without memory
    assert (await extractor.extract(path, "", "a.txt")).passages
    assert len(processes) == 3
    await extractor.aclose()


_ENDS_BY_SIGNAL = """
import os, subprocess, sys
subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=open(sys.argv[1], "w"))
os.kill(os.getpid(), 9)
"""


def test_a_server_that_is_killed_leaves_no_program_behind(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no pipes in folders")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    open_end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    client = ForkClient([sys.executable, "-c", _ENDS_BY_SIGNAL, str(pipe)], timeout_s=60)
    with pytest.raises(ExtractionFailed):
        client.run(["x:y", ""], open_end, lambda answer: answers.read(answer, "text/plain"))
    assert not client.is_usable
    client.close()
    assert select.select([open_end], [], [], 5)[0], "the program has ended"
    assert os.read(open_end, 1) == b""
    os.close(open_end)
