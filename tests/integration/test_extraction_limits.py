"""What the process of a file cannot do, and what becomes of one that misbehaves."""

import io
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

import chatbot
from chatbot.adapters.extraction import answers, frames
from chatbot.adapters.extraction.child_process import ChildProcess
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed

SOURCES = str(Path(chatbot.__file__).parent.parent)
CONFINED = f"""
import os, sys
sys.path.append({SOURCES!r})
from chatbot.adapters.extraction.confinement import confine
confine("/bin/true")
"""
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def outcome(attempt: str) -> str:
    """Return what a confined process prints: `done`, or the name of the error."""
    body = attempt.replace("\n", "\n    ")
    program = f"{CONFINED}try:\n    {body}\nexcept BaseException as error:\n    print(type(error).__name__)\nelse:\n    print('done')\n"
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "open('/etc/passwd')",
        f"open({__file__!r})",
        f"open({SOURCES + '/chatbot/new'!r}, 'w')",
        f"open({SOURCES + '/../new'!r})",
        f"os.open({SOURCES + '/chatbot/new'!r}, os.O_RDWR | os.O_CREAT)",
        "import subprocess; subprocess.run(['/bin/ls'])",
        "os.system('true')",
        "os.fork()",
        "os.execv('/bin/ls', ['ls'])",
        "os.posix_spawn('/bin/ls', ['ls'], {})",
        "os.kill(os.getppid(), 0)",
        f"os.rename({SOURCES!r}, '/tmp/x')",
        "os.remove('/tmp/x')",
        "os.mkdir('/tmp/x')",
    ],
)
@needs_linux
def test_a_confined_process_has_neither_files_nor_network_nor_programs(attempt: str) -> None:
    assert outcome(attempt) == "Refused"


@needs_linux
def test_a_confined_process_imports_modules_and_starts_the_program_for_recognition() -> None:
    assert outcome("import html.parser, email, zipfile, csv, json") == "done"
    assert outcome("import subprocess; subprocess.run(['/bin/true'], check=True)") == "done"


@needs_linux
def test_a_confined_process_has_limits_of_memory_time_and_files() -> None:
    assert outcome("bytearray(512 * 1024 * 1024)") == "MemoryError"
    assert (
        outcome(
            "import resource as r\nassert r.getrlimit(r.RLIMIT_CPU)[0] == 60\n"
            "assert r.getrlimit(r.RLIMIT_AS) == (2**29, 2**29)\nassert r.getrlimit(r.RLIMIT_FSIZE)[1] == 0\n"
            "assert r.getrlimit(r.RLIMIT_CORE)[1] == 0\nassert os.getpriority(os.PRIO_PROCESS, 0) >= 10"
        )
        == "done"
    )


@needs_linux
def test_a_confined_process_has_a_network_of_its_own_where_the_kernel_allows_it() -> None:
    alone = subprocess.run(["unshare", "--user", "--net", "true"], check=False, capture_output=True)
    shared = Path("/proc/self/ns/net").readlink()
    seen = outcome(f"assert os.readlink('/proc/self/ns/net') != {str(shared)!r}")
    assert seen == ("done" if alone.returncode == 0 else "AssertionError")


def run(program: str, *, timeout_s: float = 20.0) -> Extracted:
    """Run a program in the place of the extractor's."""
    child = ChildProcess(timeout_s=timeout_s)
    with open(os.devnull, "rb") as file:  # noqa: PTH123 # a descriptor is needed
        return child.run([sys.executable, "-c", program], file.fileno(), read)


def read(stream: IO[bytes]) -> Extracted:
    return answers.read(stream, "text/plain")


def failure(program: str, *, timeout_s: float = 20.0) -> FailureReason:
    with pytest.raises(ExtractionFailed) as caught:
        run(program, timeout_s=timeout_s)
    return caught.value.reason


def test_a_process_that_hangs_is_killed_with_those_it_has_started(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    started = time.monotonic()
    assert failure(program, timeout_s=1.5) is FailureReason.TIMEOUT
    assert time.monotonic() - started < 30
    while not is_gone(int((tmp_path / "pid").read_text())):  # a killed process may take a moment
        assert time.monotonic() - started < 30
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; it may be a zombie until init waits for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "raise SystemExit(3)",
        "print('nonsense' * 1000)",
        "import sys; sys.stdout.buffer.write(bytes([3]) + b'\\xff\\xff\\xff\\xff' + b'x' * 1000)",
        "pass",
    ],
)
def test_a_process_that_crashes_or_answers_nonsense_is_a_crash(program: str) -> None:
    assert failure(program) is FailureReason.CRASHED


@needs_linux
def test_a_process_that_uses_up_its_cpu_time_took_too_long() -> None:
    program = "import resource as r\nr.setrlimit(r.RLIMIT_CPU, (1, 2))\nwhile True: pass"
    assert failure(program) is FailureReason.TIMEOUT


def test_a_process_that_was_killed_before_its_start_does_not_start(tmp_path: Path) -> None:
    child = ChildProcess(timeout_s=20)
    child.kill()
    program = f"open({str(tmp_path / 'started')!r}, 'w').close()"
    with pytest.raises(ExtractionFailed):
        child.run(
            [sys.executable, "-c", program], 0, lambda stream: read(io.BytesIO(stream.read()))
        )
    assert not (tmp_path / "started").exists()


def test_the_process_gets_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("TESSDATA_PREFIX", "/usr/share/tessdata")
    seen: list[bytes] = []

    def keep(stream: IO[bytes]) -> Extracted:
        seen.append(stream.read())
        return Extracted(media_type="", title="", sections=[])

    child = ChildProcess(timeout_s=20)
    program = "import os; print({k: v for k, v in os.environ.items() if k != 'LC_CTYPE'})"
    with open(os.devnull, "rb") as file:  # noqa: PTH123 # a descriptor is needed
        child.run([sys.executable, "-c", program], file.fileno(), keep)
    assert seen[0].strip() == b"{'TESSDATA_PREFIX': '/usr/share/tessdata'}"


def written(*sections: tuple[str, str], title: str = "") -> bytes:
    stream = io.BytesIO()
    frames.write_text(stream, title, sections)
    return stream.getvalue()


def answer_failure(raw: bytes) -> FailureReason:
    with pytest.raises(ExtractionFailed) as caught:
        read(io.BytesIO(raw))
    return caught.value.reason


def test_an_answer_is_read_as_it_was_written_without_what_cannot_be_stored() -> None:
    found = read(io.BytesIO(written(("h", "a\0b\ud800"), ("", "c"), title="t")))
    assert [(s.heading, s.text, s.start, s.end) for s in found.sections] == [
        ("h", "a\ufffdb?", 0, 4),
        ("", "c", 6, 7),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        written(("h", "text"))[:-1],
        written(("h", "text")) + b"x",
        struct.pack(">BI", 9, 0),
        struct.pack(">BI", 3, 2**31),
        struct.pack(">BI", 2, 5000) + b"x" * 5000,
        struct.pack(">BI", 3, 2) + b"\xff\xfe" + struct.pack(">BI", 4, 0),
        struct.pack(">BI", 5, 4) + b"what",
    ],
)
def test_a_malformed_answer_is_a_crash(raw: bytes) -> None:
    assert answer_failure(raw) is FailureReason.CRASHED


def test_an_answer_has_at_most_three_times_the_longest_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "_MOST_BYTES", 50)
    assert answer_failure(written(("", "x" * 30), ("", "y" * 30))) is FailureReason.CRASHED


def test_an_answer_without_text_has_no_text_and_a_reason_is_passed_on() -> None:
    assert answer_failure(written(("h", " "))) is FailureReason.NO_TEXT
    stream = io.BytesIO()
    frames.write_failure(stream, FailureReason.ENTITIES)
    assert answer_failure(stream.getvalue()) is FailureReason.ENTITIES
