"""What the process of a file cannot do, and what becomes of one that misbehaves."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

import chatbot
from chatbot.adapters.extraction import answers
from chatbot.adapters.extraction.child_process import ChildProcess
from chatbot.adapters.extraction.fork_client import ForkClient
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed

SOURCES = str(Path(chatbot.__file__).parent.parent)
CONFINED = f"""
import os, sys
sys.path.append({SOURCES!r})
from chatbot.adapters.extraction.confinement import confine, leave_network
leave_network()
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


FORKING = f"""
import sys
sys.path.append({SOURCES!r})
from chatbot.adapters.extraction import child, fork_server
def main(program, *_):
    exec(bytes.fromhex(program), {{}})
    sys.stdout.flush()
child.main = main
fork_server.serve("")
"""
KINDS = ["started"] if sys.platform == "win32" else ["started", "forked"]


def run(program: str, kind: str, *, timeout_s: float = 20.0) -> Extracted:
    """Run a program in the place of the one that reads a file."""
    process = new_process(program, kind, timeout_s=timeout_s)
    arguments = [program.encode().hex()] if kind == "forked" else []
    with open(os.devnull, "rb") as file:  # noqa: PTH123 # a descriptor is needed
        try:
            return process.run(arguments, file.fileno(), read)
        finally:
            assert not process.is_usable
            process.close()


def new_process(program: str, kind: str, *, timeout_s: float) -> ForkClient | ChildProcess:
    program = FORKING if kind == "forked" else program
    command = [sys.executable, "-c", program]
    if kind == "forked":
        return ForkClient(command, timeout_s=timeout_s)
    return ChildProcess(command, timeout_s=timeout_s)


def read(stream: IO[bytes]) -> Extracted:
    return answers.read(stream, "text/plain")


def failure(program: str, kind: str, *, timeout_s: float = 20.0) -> FailureReason:
    with pytest.raises(ExtractionFailed) as caught:
        run(program, kind, timeout_s=timeout_s)
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_hangs_is_killed_with_those_it_has_started(
    kind: str, tmp_path: Path
) -> None:
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    started = time.monotonic()
    assert failure(program, kind, timeout_s=1.5) is FailureReason.TIMEOUT
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
        "import os; os.kill(os.getpid(), 11)",
        "raise SystemExit(3)",
        "print('nonsense' * 1000)",
        "import sys; sys.stdout.buffer.write(bytes([3]) + b'\\xff\\xff\\xff\\xff' + b'x' * 1000)",
        "pass",
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_crashes_or_answers_nonsense_is_a_crash(program: str, kind: str) -> None:
    assert failure(program, kind) is FailureReason.CRASHED


@pytest.mark.parametrize("kind", KINDS)
@needs_linux
def test_a_process_that_aborts_had_not_enough_memory(kind: str) -> None:
    """So do libraries that are not written in Python."""
    assert failure("import os; os.abort()", kind) is FailureReason.OUT_OF_MEMORY


@pytest.mark.parametrize("kind", KINDS)
@needs_linux
def test_a_process_that_uses_up_its_cpu_time_took_too_long(kind: str) -> None:
    program = "import resource as r\nr.setrlimit(r.RLIMIT_CPU, (1, 2))\nwhile True: pass"
    assert failure(program, kind) is FailureReason.TIMEOUT


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_was_killed_before_its_start_does_not_start(
    kind: str, tmp_path: Path
) -> None:
    process = new_process(f"open({str(tmp_path / 'started')!r}, 'w').close()", kind, timeout_s=20)
    process.kill()
    with pytest.raises(ExtractionFailed):
        process.run([], 0, lambda stream: read(io.BytesIO(stream.read())))
    process.close()
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_process_gets_nothing_of_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("TESSDATA_PREFIX", "/usr/share/tessdata")
    program = "import os; print({k: v for k, v in os.environ.items() if k != 'LC_CTYPE'})"
    assert printed(program, kind).strip() == "{'TESSDATA_PREFIX': '/usr/share/tessdata'}"


def printed(program: str, kind: str) -> str:
    """Return what a program prints that runs in the place of the one that reads a file."""
    seen: list[bytes] = []

    def keep(stream: IO[bytes]) -> Extracted:
        seen.append(stream.read())
        return Extracted(media_type="", title="", passages=[])

    process = new_process(program, kind, timeout_s=20)
    arguments = [program.encode().hex()] if kind == "forked" else []
    with open(os.devnull, "rb") as file:  # noqa: PTH123 # a descriptor is needed
        process.run(arguments, file.fileno(), keep)
    process.close()
    return seen[0].decode()


@needs_linux
def test_each_file_has_a_process_of_its_own_without_the_socket_of_the_server() -> None:
    """The descriptors are the file, the answer, /dev/null and the folder that is being listed."""
    program = "import os; print(os.getpid(), sorted(map(int, os.listdir('/proc/self/fd'))))"
    process = new_process(program, "forked", timeout_s=20)
    seen: list[str] = []

    def keep(stream: IO[bytes]) -> Extracted:
        seen.append(stream.read().decode())
        return Extracted(media_type="", title="", passages=[])

    with open(os.devnull, "rb") as file:  # noqa: PTH123 # a descriptor is needed
        for _ in range(2):
            process.run([program.encode().hex()], file.fileno(), keep)
            assert process.is_usable
    process.close()
    (first, _, descriptors), (second, _, _) = (each.partition(" ") for each in seen)
    assert first != second
    assert descriptors.strip() == "[0, 1, 2, 3]"


@needs_linux
def test_server_ends_with_the_service() -> None:
    program = f"""
import os, subprocess, sys
sys.path.append({SOURCES!r})
from chatbot.adapters.extraction.fork_client import ForkClient
client = ForkClient([sys.executable, "-c", {FORKING!r}], timeout_s=20)
with open(os.devnull, "rb") as file:
    client.run(["pass".encode().hex()], file.fileno(), lambda answer: answer.read())
print(client._process.pid, client.is_usable, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    pid, is_usable = done.stdout.decode().split()
    assert is_usable == "True"
    began = time.monotonic()
    while not is_gone(int(pid)):
        assert time.monotonic() - began < 20
        time.sleep(0.02)
