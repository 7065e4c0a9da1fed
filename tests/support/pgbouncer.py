"""A real PgBouncer in transaction mode, in front of the Postgres of the tests."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from postgres import STARTS_WITHIN_S, free_port, own_folder, unprivileged
from programs import program

SERVERS = 2
"""Connections to Postgres: fewer than clients, so that transactions switch connections."""
_TRACKS_PREPARED = (1, 21)
"""From this version on it supports prepared statements; as many companies run an older one,
this one must not."""


@contextmanager
def pgbouncer(database_url: str) -> Iterator[str]:
    """The URL of the same database through PgBouncer."""
    path, folder, port = program("pgbouncer"), own_folder(), free_port()
    settings = _settings(folder, database_url, port, path)
    process = unprivileged(path, str(settings), log=folder / "log")
    parts = urlsplit(database_url)
    url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
    try:
        _wait_until_it_answers(url, folder / "log")
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, check=True).stdout.decode()
    return tuple(map(int, said.split()[1].split(".")))


def _settings(folder: Path, database_url: str, port: int, path: str) -> Path:
    url = urlsplit(database_url)
    users, file = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{url.username}" "{url.password}"\n', "utf-8")
    prepared = "max_prepared_statements = 0" if _version(path) >= _TRACKS_PREPARED else ""
    file.write_text(
        f"""[databases]
* = host={url.hostname} port={url.port or 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {SERVERS}
{prepared}
""",
        "utf-8",
    )
    for each in (users, file):
        each.chmod(0o644)
    return file


def _wait_until_it_answers(url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return
        assert time.monotonic() < deadline, log.read_text("utf-8")
        time.sleep(0.02)
