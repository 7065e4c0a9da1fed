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
import time
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - it is for whoever starts this with an older one
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
LOCKS = {  # the one for Postgres is what the container holds
    "base": "requirements.lock",
    "postgres": "requirements-postgres.lock",
    "dev": "requirements-dev.lock",
}
# A compiled package fits one version and one platform, a script of a .venv only its folder.
HOME = f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {ROOT}"
ENV = {**os.environ, "PYTHONUTF8": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}
ADMIN_EMAIL = "admin@example.com"
NO_VENV = f"this Python cannot fill a .venv: `apt install python3.{sys.version_info[1]}-venv`, or install uv"
NO_REGISTRY = (
    "cannot reach the package registry: check the network, or set HTTPS_PROXY, SSL_CERT_FILE or a "
    "mirror in PIP_INDEX_URL (uv: UV_DEFAULT_INDEX); the installer's words are in .venv/install.log"
)


class Failed(Exception):
    """A task cannot go on; the text is the one line for the user, with the mend in it."""


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


def install(kind: str) -> None:
    """Bring `.venv` up to the lock of that kind; nothing is done when it is there already."""
    with Path(__file__).open("rb") as this_file:
        if sys.platform != "win32":  # a second terminal waits; the kernel frees a dead one's lock
            fcntl.flock(this_file, fcntl.LOCK_EX)
        state = STATE.read_text(encoding="utf-8") if STATE.exists() else ""
        enough = {wanted(kind), wanted("dev")}  # the dev lock holds the base lock
        if state in enough and Path(PYTHON).exists():
            return
        is_usable = usable(state)
        VENV.mkdir(exist_ok=True)
        STATE.write_text("installing", encoding="utf-8")
        if not is_usable:
            make_venv()
        fill_venv(LOCKS[kind])
        STATE.write_text(wanted(kind), encoding="utf-8")
        print("installed")


def wanted(kind: str) -> str:
    names = (LOCKS[kind], "pyproject.toml", "src/chatbot/__init__.py")
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names))
    return f"{kind} {digest.hexdigest()}\n{HOME}\n"


def usable(state: str) -> bool:
    """Whether the `.venv` that is there will do. One made by hand will, if it is of this Python."""
    if not Path(PYTHON).exists():
        return False
    if STATE.exists():
        return state.endswith(f"\n{HOME}\n")
    differs = f"sys.implementation.cache_tag != {sys.implementation.cache_tag!r}"
    return call(PYTHON, "-c", f"import sys; sys.exit({differs})") == 0


def make_venv() -> None:
    """Make an empty `.venv` without pip. The state file stays, should this be interrupted."""
    for old in VENV.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old != STATE:
            old.unlink()
    base = getattr(sys, "_base_executable", sys.executable)  # not that of the .venv being replaced
    if call(base, "-m", "venv", "--without-pip", str(VENV)):
        raise Failed(NO_VENV)


def fill_venv(lock: str) -> None:
    """Install the lock, then the project, with uv or else with pip.

    pip also has its turn when uv fails: a company's mirror often stands in pip's settings only.
    """
    tools = {"uv": ["uv", "pip", "install", "--python", PYTHON]} if shutil.which("uv") else {}
    tools["pip (a minute or two)"] = [PYTHON, "-m", "pip", "install"]
    with LOG.open("wb") as file:
        log = file.fileno()
        for name, tool in tools.items():
            print(f"installing {lock} into .venv with {name} ...")
            no_pip = name != "uv" and call(PYTHON, "-c", "import pip", log=log)
            if no_pip and call(PYTHON, "-m", "ensurepip", log=log):
                raise Failed(NO_VENV)
            project = ["--no-deps", "--no-build-isolation", "--editable", "."]
            for packages in (["--require-hashes", "-r", lock], project):
                if call(*tool, *packages, log=log):
                    break
            else:
                return
    text = LOG.read_text(encoding="utf-8", errors="replace").strip() or "no message"
    if re.search("Retrying|NewConnection|Failed to fetch|No matching distribution", text):
        raise Failed(NO_REGISTRY)
    raise Failed(f"the install failed: {text.splitlines()[-1]} (all of it: .venv/install.log)")


def task_install(args: list[str]) -> int:
    if args not in ([], ["--base"]):
        raise Failed("install takes only --base (without the dev tools)")
    install("base" if args else "dev")
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
    """Make settings and a first administrator, or what of it an earlier run did not finish."""
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
    return call(PYTHON, *python_arguments)


def task_check(_args: list[str]) -> int:
    install("dev")
    steps = ["ruff check .", "ruff format --check .", "mypy", "lint-imports"]
    steps.append("mypy --platform win32 --cache-dir .mypy_cache/win32")
    commands = [[str(BIN / (name + EXE)), *args] for name, *args in map(str.split, steps)]
    failed = [c for c in [*commands, [PYTHON, "tests/lock_check.py"]] if call(*c)]
    sys.stderr.writelines(f"failed: {' '.join(command)}\n" for command in failed)
    return 1 if failed else 0


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
        return dev_python("tests/lock_check.py")
    if not shutil.which("uv"):
        raise Failed("lock needs uv on the PATH: `pip install uv`")
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--custom-compile-command", "python tasks.py lock", "--generate-hashes"]
    command += ["--no-emit-index-url", "pyproject.toml", "--group", "build", *args]
    dev = ["--all-extras", "--group", "dev", "-c", LOCKS["base"], "-o", LOCKS["dev"]]
    postgres = ["--extra", "postgres", "-c", LOCKS["dev"], "-o", LOCKS["postgres"]]
    return call(*command, "-o", LOCKS["base"]) or call(*command, *dev) or call(*command, *postgres)


TASKS = {
    "run": (task_run, "install, make settings and a first admin once, then serve [--port ...]"),
    "test": (lambda args: dev_python("-m", "pytest", *args), "run the tests [pytest's arguments]"),
    "test-portable": (
        lambda args: dev_python("tests/portable.py", *args),
        "run tests in a Python without what Windows lacks [pytest's arguments]",
    ),
    "check": (task_check, "lint, format, types, layers and locks: what a change has to pass"),
    "bench": (task_bench, "run the benchmarks"),
    "fuzz": (lambda args: dev_python("tests/fuzz.py", *args), "fuzz the API for 10 minutes"),
    "kill": (
        lambda args: dev_python("tests/kill_under_load.py", *args),
        "kill the service under load and look for losses [--rounds 20] [--storage URL]",
    ),
    "provider": (lambda args: dev_python("tests/provider.py", *args), "run a stand-in provider"),
    "install": (task_install, "fill .venv from the locks [--base: without the dev tools]"),
    "lock": (task_lock, "remake the locks [uv's --upgrade ...], or `lock check`"),
}


def main(arguments: list[str]) -> int:
    name, *args = arguments or ["help"]
    if name not in TASKS:
        asked = name in ("help", "-h", "--help")
        sys.stderr.write("" if asked else f"tasks.py: there is no task {name}; these are there\n")
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
