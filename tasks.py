"""The project's tasks: `python tasks.py help`. Standard library only; the Makefile only calls it.

The syntax is that of Python 3.6: an older Python then reads as far as the line that says which
one is needed.
"""

import hashlib
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import IO

if sys.version_info < (3, 11):  # noqa: UP036 - for callers with an older Python
    sys.stderr.write(
        f"tasks.py: Python 3.11 or newer is needed, this is {sys.version.split()[0]}: name one, "
        "as in `python3.11 tasks.py run` or `make run PYTHON=python3.11`\n"
    )
    sys.exit(2)
if sys.platform != "win32":
    import fcntl

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN, EXE = (VENV / "Scripts", ".exe") if os.name == "nt" else (VENV / "bin", "")
PYTHON = str(BIN / ("python" + EXE))
CHATBOT = str(BIN / ("chatbot" + EXE))
STATE = VENV / "state.txt"  # what is installed here; "installing" while that is under way
LOG = VENV / "install.log"
LOCKS = {  # the one for Postgres is what the container holds, with all other extras
    "base": "requirements.lock",
    "postgres": "requirements-postgres.lock",
    "dev": "requirements-dev.lock",
}
PROVIDERS_LOCK = "requirements-providers.lock"  # real servers for tests, on top of the dev lock
# A compiled package fits one version and one platform, a script of a .venv only its folder.
HOME = f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {ROOT}"
ENV = {**os.environ, "PYTHONUTF8": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}
TOOLS_PATH = os.pathsep.join((str(ROOT / "tests" / "support"), str(ROOT / "tools")))
ADMIN_EMAIL = "admin@example.com"
NO_VENV = f"this Python cannot fill a .venv: `apt install python3.{sys.version_info[1]}-venv`, or install uv"
FIXES = {  # the first of these patterns that an installer's output contains says what to do
    "No space left|Disk quota": "free some space on this disk and run it again",
    "HASHES|[Hh]ash mismatch": (
        "the registry or a cache holds other files than the lock: `pip cache purge`, or name "
        "another registry in PIP_INDEX_URL (uv: `uv cache clean`, UV_DEFAULT_INDEX)"
    ),
    "Retrying|NewConnection|Failed to fetch|from versions: none": (
        "cannot reach the package registry: check the network, or set HTTPS_PROXY, SSL_CERT_FILE "
        "or a mirror in PIP_INDEX_URL (uv: UV_DEFAULT_INDEX)"
    ),
    "No matching distribution": (
        "the registry lacks a package of the lock: name another one in PIP_INDEX_URL (uv: "
        "UV_DEFAULT_INDEX), or another Python, as in `make run PYTHON=python3.11`"
    ),
    "": "run it again; if it fails once more, report it",
}


class Failed(Exception):
    """A task failed; the message is for the user and says what to do."""


class Inconsistent(Failed):
    """The packages in `.venv` are inconsistent."""


def call(*command: str, log: "int | None" = None) -> int:
    """Run a program in the project's folder and return its exit code.

    Ctrl-C is the program's to handle: this one waits for its end and then raises
    KeyboardInterrupt. With `log`, a file descriptor, its output goes there and it has no input.
    """
    stdin = None if log is None else subprocess.DEVNULL
    sys.stdout.flush()
    child = subprocess.Popen(command, cwd=ROOT, env=ENV, stdin=stdin, stdout=log, stderr=log)
    interrupted = False
    while child.returncode is None:
        try:
            child.wait()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def install(kind: str, *, with_uv: bool = True) -> None:
    """Update `.venv` to the lock of that kind; a no-op if it is up to date.

    The log is locked meanwhile, also by the installer that writes to it: a second terminal waits
    for both, and the kernel frees the lock of the dead.
    """
    VENV.mkdir(exist_ok=True)
    with LOG.open("a+b") as log:
        if sys.platform != "win32":
            fcntl.flock(log, fcntl.LOCK_EX)
        state = STATE.read_text(encoding="utf-8") if STATE.exists() else ""
        enough = {wanted(kind), wanted("dev")}  # the dev lock holds the base lock
        if state in enough and Path(PYTHON).exists():
            return
        log.truncate(0)
        is_usable = usable(state)
        STATE.write_text("installing", encoding="utf-8")
        if not is_usable:
            make_venv()
        try:
            fill_venv(LOCKS[kind], log, with_uv=with_uv)
        except Inconsistent:
            if not is_usable:
                raise
            make_venv()  # what was there before does not fit what the lock brought
            fill_venv(LOCKS[kind], log, with_uv=with_uv)
        STATE.write_text(wanted(kind), encoding="utf-8")
        print("installed")


def wanted(kind: str) -> str:
    names = (LOCKS[kind], "pyproject.toml", "src/chatbot/__init__.py")
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names))
    return f"{kind} {digest.hexdigest()}\n{HOME}\n"


def usable(state: str) -> bool:
    """Whether the existing `.venv` is usable; one made by hand is, if it has this Python."""
    if not Path(PYTHON).exists():
        return False
    if STATE.exists():
        return state.endswith(f"\n{HOME}\n")
    differs = f"sys.implementation.cache_tag != {sys.implementation.cache_tag!r}"
    return call(PYTHON, "-c", f"import sys; sys.exit({differs})") == 0


def make_venv() -> None:
    """Create an empty `.venv` without pip. State and log survive an interruption."""
    for old in VENV.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old not in (STATE, LOG):
            old.unlink()
    base = getattr(sys, "_base_executable", sys.executable)  # not that of the .venv being replaced
    if call(base, "-m", "venv", "--without-pip", str(VENV)):
        raise Failed(NO_VENV)


def fill_venv(lock: str, log: "IO[bytes]", *, with_uv: bool) -> None:
    """Install the lock, then the project, with uv or else with pip.

    pip also has its turn when uv fails: a company's mirror often stands in pip's settings only.
    """
    failed = ""
    if with_uv and shutil.which("uv"):
        print(f"installing {lock} into .venv with uv ...")
        failed = install_with(["uv", "pip"], ["--python", PYTHON], lock, log)
        if not failed:
            return
    no_pip, _ = logged(log, PYTHON, "-c", "import pip")
    if no_pip and logged(log, PYTHON, "-m", "ensurepip")[0]:
        raise Failed(explained(failed) if failed else NO_VENV)
    print(f"installing {lock} into .venv with pip (a minute or two) ...")
    failed = install_with([PYTHON, "-m", "pip"], [], lock, log)
    if failed:
        raise Failed(explained(failed))


def install_with(tool: "list[str]", options: "list[str]", lock: str, log: "IO[bytes]") -> str:
    """Install the lock and the project, and return the output of the step that failed, if one did.

    Dependencies are not looked up: the lock holds all of them, and for one that is required with an
    extra, such as `pydantic[email]`, a pip before 23.3 takes the newest release, which has no hash.
    """
    locked = ["--no-deps", "--require-hashes", "-r", lock]
    project = ["--no-deps", "--no-build-isolation", "--editable", "."]
    for packages in (locked, project):
        code, output = logged(log, *tool, "install", *options, *packages)
        if code:
            return output or "no message"
    code, output = logged(log, *tool, "check", *options)
    if code:
        lines = [line for line in output.splitlines() if "requires" in line] or [output.strip()]
        raise Inconsistent(f"{lock} is inconsistent: {lines[0]}\nFix: `python tasks.py lock`")
    return ""


def logged(log: "IO[bytes]", *command: str) -> "tuple[int, str]":
    """Run a program, and return its exit code and output, which is also written to the log."""
    start = log.seek(0, os.SEEK_END)
    code = call(*command, log=log.fileno())
    log.seek(start)
    return code, log.read().decode("utf-8", "replace")


def explained(output: str) -> str:
    """Returns the line of an installer's output with the error, and the fix."""
    lines = output.strip().splitlines()
    starts = [n for n, line in enumerate(lines) if re.match(" *(ERROR:|error:|\u00d7)", line)]
    first = starts[0] if starts else len(lines) - 1
    error = [lines[first], *lines[first + 1 : first + 2]]  # pip names the package one line below
    fix = next(fix for pattern, fix in FIXES.items() if re.search(pattern, output))
    return f"{' '.join(map(str.strip, error))}\nFix: {fix} (all of the output: .venv/install.log)"


def task_install(args: list[str]) -> int:
    if not set(args) <= {"--base", "--pip", "--providers"}:
        raise Failed(
            "install takes --base (without the dev tools), --pip (without uv) and --providers (with "
            "llama.cpp's server, for its tests)"
        )
    install("base" if "--base" in args else "dev", with_uv="--pip" not in args)
    if "--providers" in args:
        with LOG.open("a+b") as log:
            fill_venv(PROVIDERS_LOCK, log, with_uv="--pip" not in args)
    return 0


def task_run(args: list[str]) -> int:
    install("base")
    code = 0 if "--help" in args else first_run()
    if not code and os.name != "nt":  # the service becomes this process: every signal is its own
        sys.stdout.flush()
        os.chdir(ROOT)
        os.execve(CHATBOT, [CHATBOT, "serve", *args], ENV)  # noqa: S606 - no shell is wanted
    try:
        return code or call(CHATBOT, "serve", *args)
    except KeyboardInterrupt:
        return 0


def first_run() -> int:
    """Create settings and a first administrator, or what an earlier run did not finish."""
    fresh = not (ROOT / ".env").exists()
    if not fresh and (ROOT / "data" / "auth" / "users.json").exists():
        return 0
    done = chatbot("init")
    if done.returncode:
        sys.stderr.write(done.stderr)
        return done.returncode
    print(done.stdout if fresh else "", end="")
    password = secrets.token_urlsafe(18)
    done = chatbot("admin", "create", "--email", ADMIN_EMAIL, "--password-stdin", text=password)
    if done.returncode == 0:
        print(f"admin: {ADMIN_EMAIL}\npassword: {password}")
    elif fresh or done.returncode != 1:  # 1 with users elsewhere: there is an administrator
        sys.stderr.write(done.stderr)
    return 0 if done.returncode == 1 else done.returncode


def chatbot(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    command = [CHATBOT, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=ENV, input=text, capture_output=True, check=False, encoding="utf-8"
    )


def dev_python(*python_arguments: str) -> int:
    install("dev")
    ENV["PYTHONPATH"] = TOOLS_PATH
    return call(PYTHON, *python_arguments)


def task_check(_args: list[str]) -> int:
    install("dev")
    steps = ["ruff check .", "ruff format --check .", "mypy", "lint-imports"]
    steps.append("mypy --platform win32 --cache-dir .mypy_cache/win32")
    commands = [[str(BIN / (name + EXE)), *args] for name, *args in map(str.split, steps)]
    failed = [c for c in [*commands, [PYTHON, "tools/lock_check.py"]] if call(*c)]
    sys.stderr.writelines(f"failed: {' '.join(command)}\n" for command in failed)
    return 1 if failed else 0


def task_test(args: list[str]) -> int:
    """Run the tests with temporary folders of their own, so that concurrent runs are independent."""
    if any(arg.startswith("--basetemp") for arg in args):
        return dev_python("-m", "pytest", *args)
    with tempfile.TemporaryDirectory(prefix="chatbot-tests-") as folder:
        return dev_python("-m", "pytest", f"--basetemp={folder}/base", *args)


def task_demo(args: list[str]) -> int:
    install("base")
    ENV["PYTHONPATH"] = TOOLS_PATH
    return call(PYTHON, "tools/demo.py", *args)


def task_bench(args: list[str]) -> int:
    """Run each benchmark, print its table and keep it in bench/RESULTS.md."""
    install("dev")
    command = " ".join(["python tasks.py bench", *args])
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    kept = f"# Results\n\n`{command}`, {time.strftime('%Y-%m-%d')}: {system}, {python}.\n"
    for path in sorted(ROOT.glob("bench/bench_*.py")):
        ran = subprocess.run(
            [PYTHON, str(path), *args],
            cwd=ROOT,
            env=ENV,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
        if ran.returncode:
            return ran.returncode
        print(path.name, ran.stdout, sep="\n", flush=True)
        kept += f"\n## {path.name}\n\n{ran.stdout}"
    (ROOT / "bench" / "RESULTS.md").write_text(kept, encoding="utf-8")
    return 0


def task_lock(args: list[str]) -> int:
    if args == ["check"]:
        return dev_python("tools/lock_check.py")
    if not shutil.which("uv"):
        raise Failed("lock needs uv on the PATH: `pip install uv`")
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--custom-compile-command", "python tasks.py lock", "--generate-hashes"]
    command += ["--no-emit-index-url", *args]
    project = ["pyproject.toml", "--group", "build"]
    names = ("postgres", "redis", "telemetry", "documents")
    extras = [part for name in names for part in ("--extra", name)]
    steps = [
        [*project, "-o", LOCKS["base"]],
        [*project, "--all-extras", "--group", "dev", "-c", LOCKS["base"], "-o", LOCKS["dev"]],
        [*project, *extras, "-c", LOCKS["dev"], "-o", LOCKS["postgres"]],
        ["--group", "providers", "-o", PROVIDERS_LOCK],
    ]
    return next(filter(None, (call(*command, *step) for step in steps)), 0)


TASKS = {
    "run": (task_run, "install, create settings and a first admin once, then serve [--port ...]"),
    "test": (task_test, "run the tests [pytest's arguments]"),
    "test-portable": (
        lambda args: dev_python("tools/portable.py", *args),
        "run tests in a Python without what Windows lacks [pytest's arguments]",
    ),
    "check": (task_check, "lint, format, types, layers and locks: the checks for every change"),
    "bench": (task_bench, "run the benchmarks"),
    "fuzz": (lambda args: dev_python("tools/fuzz.py", *args), "fuzz the API for 10 minutes"),
    "demo": (task_demo, "show a company with 40 documents and five people [--ask] [--port ...]"),
    "kill": (
        lambda args: dev_python("tools/kill_under_load.py", *args),
        "kill the service under load and check that nothing is lost [--rounds 20] [--storage URL]",
    ),
    "provider": (
        lambda args: dev_python("tools/stand_in.py", *args),
        "run a stand-in for a model provider",
    ),
    "install": (task_install, "install the locks into .venv [--base: no dev tools] [--pip: no uv]"),
    "openapi": (
        lambda args: dev_python("tools/openapi_document.py", *args),
        "write docs/openapi.json from the code",
    ),
    "lock": (task_lock, "regenerate the locks [uv's --upgrade ...], or `lock check`"),
}


def main(arguments: list[str]) -> int:
    name, *args = arguments or ["help"]
    if name not in TASKS:
        asked = name in ("help", "-h", "--help")
        sys.stderr.write("" if asked else f"tasks.py: unknown task {name}; the tasks are\n")
        print("python tasks.py TASK [arguments]      (or: make TASK)\n")
        print("\n".join(f"  {task:<15}{text}" for task, (_, text) in TASKS.items()))
        return 0 if asked else 2
    try:
        return TASKS[name][0](args)
    except (Failed, OSError) as error:
        sys.stderr.write(f"tasks.py: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
