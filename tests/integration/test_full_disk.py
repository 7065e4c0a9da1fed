"""A real service on disks that are really full or read-only.

A small file system is mounted in a mount namespace that ends with the service: nothing of it is
seen or stays outside. Where that is not allowed (in CI it has to be), the kernel's limit on the
size of files still stands in for the full disk.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.upgrading import upgrade
from process import ENVIRONMENT, Running, running, with_provider
from programs import unavailable
from provider import FakeProvider
from service import SSE

if sys.platform != "linux":
    pytest.skip("mount namespaces and limits are those of Linux", allow_module_level=True)

import resource

LONG = "palabra " * 480  # fits into no page that is in use already
ROOT = os.geteuid() == 0
MOUNT = "mount -t tmpfs -o size=256k,mode=700 tmpfs data"
MOUNT_FOR_SQLITE = MOUNT.replace("256k", "1m")  # empty tables and the log take 400 KiB
INIT = f"{sys.executable} -c 'from chatbot.entrypoints.commands.cli import main; main()' db upgrade"
SQLITE = {"STORAGE_URL": "sqlite:///data/chatbot.db"}
READ_ONLY = "mount -o remount,ro data"
WRITABLE = "mount -o remount,rw data"


def after(*steps: str) -> tuple[str, ...]:
    """Run a command in its own mount namespace, after these steps."""
    namespace = ("unshare", "--mount", *(() if ROOT else ("--user", "--map-root-user")))
    return (*namespace, "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh")


async def change(service: Running, folder: Path, step: str) -> None:
    """Run a command on the mounts of the service."""
    pid = str(service.process.pid)
    user = () if ROOT else ("--user", "--preserve-credentials")
    command = ("nsenter", "--target", pid, "--mount", *user, "sh", "-c", f"cd '{folder}' && {step}")
    assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0


@pytest.fixture
def mountable(tmp_path: Path) -> Path:
    """A folder whose `data` can be a mount point."""
    (tmp_path / "data").mkdir(mode=0o700)
    if shutil.which("unshare"):
        tried = subprocess.run(
            (*after(MOUNT), "true"), cwd=tmp_path, capture_output=True, check=False
        )
        if tried.returncode == 0:
            return tmp_path
    return unavailable("mounting is not allowed: run it as root, or let users have namespaces")


@dataclass(frozen=True)
class Disk:
    """The disk of a service; `data` is its folder as seen by this process."""

    service: Running
    data: Path
    fill: Callable[[], None]
    clear: Callable[[], None]


@asynccontextmanager
async def small_disk(folder: Path, upstream: FakeProvider) -> AsyncGenerator[Disk]:
    async with running(folder, *after(MOUNT), **with_provider(upstream)) as service:
        data = Path(f"/proc/{service.process.pid}/root{folder}/data")

        def fill() -> None:
            with suppress(OSError), (data / "ballast").open("wb", buffering=0) as ballast:
                while ballast.write(b"x" * 4096):
                    pass
            assert shutil.disk_usage(data).free == 0

        yield Disk(service, data, fill, (data / "ballast").unlink)


@asynccontextmanager
async def limited_files(folder: Path, upstream: FakeProvider) -> AsyncGenerator[Disk]:
    """The limit also applies to the log of the service, which is a file."""
    async with running(folder, **with_provider(upstream)) as service:

        def limit(most: int) -> None:
            bounds = (most, resource.RLIM_INFINITY)
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, bounds)

        yield Disk(
            service, folder / "data", lambda: limit(0), lambda: limit(resource.RLIM_INFINITY)
        )


async def problem(service: Running, method: str, path: str, **given: Any) -> tuple[int, str]:
    answer = await service.client.request(method, path, **given)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def check_full_disk(disk: Disk, upstream: FakeProvider) -> set[tuple[str, str, str | None]]:
    """Return what is stored of the unacknowledged turns."""
    service, full = disk.service, (507, "storage_full")
    first = await service.answer("POST", "/chat", json={"prompt": "Hola"})
    path, same = f"/sessions/{first['session_id']}", {"session_id": first["session_id"]}
    await service.answer("PUT", f"{path}/summary", json={"summary": "old"})
    before = await service.answer("GET", path)

    disk.fill()
    for headers in ({}, SSE):
        body = {"prompt": LONG, **same}
        assert await problem(service, "POST", "/chat", json=body, headers=headers) == full
        assert await problem(service, "POST", "/chat", json={"prompt": LONG}) == full
    assert await problem(service, "POST", "/sessions/new") == full
    assert await problem(service, "PUT", f"{path}/summary", json={"summary": LONG}) == full
    assert await problem(service, "POST", f"{path}/reset") == full
    assert await problem(service, "GET", "/ready") == (503, "storage_unavailable")
    assert await service.answer("GET", path) == before
    upstream.reply = lambda _: LONG
    for headers in ({}, SSE):  # room for the question, none for the answer
        body = {"prompt": "Short", **same}
        answer = await service.client.post("/chat", json=body, headers=headers)
        assert '"code":"storage_full"' in answer.text.replace('": "', '":"')
        assert "event: done" not in answer.text

    disk.clear()
    again = await service.answer("POST", "/chat", json={"prompt": LONG, **same})
    assert (again["text"], again["finish_reason"]) == (LONG, "stop")
    assert (await service.client.get("/ready")).status_code == 200
    found = await service.answer("GET", path)
    known = len(before["messages"])
    between, newest = found["messages"][known:-2], found["messages"][-2:]
    assert (found["summary"], found["messages"][:known]) == ("old", before["messages"])
    assert [m["content"] for m in newest] == [LONG, LONG]
    async with JsonFileStorage(disk.data) as storage:
        assert await storage.findings() == []
    return {(m["role"], m["content"], m.get("reason")) for m in between}


async def test_full_disk_is_a_507_that_keeps_stored_data_and_recovers(mountable: Path) -> None:
    async with FakeProvider() as upstream, small_disk(mountable, upstream) as disk:
        rest = await check_full_disk(disk, upstream)
    assert rest == {("user", "Short", None), ("assistant", "", "crash")}


async def test_file_size_limit_is_reported_as_a_full_disk(tmp_path: Path) -> None:
    async with FakeProvider() as upstream, limited_files(tmp_path, upstream) as disk:
        assert await check_full_disk(disk, upstream) == set()


async def test_disk_that_becomes_read_only_is_a_503_is_still_read_and_recovers(
    mountable: Path,
) -> None:
    unavailable = (503, "storage_unavailable")
    # A mount stays writable while a file is open for writing, as the index is after a search.
    settings = {"MEMORY_RECALL": "off"}
    async with (
        FakeProvider() as upstream,
        running(mountable, *after(MOUNT), **with_provider(upstream), **settings) as service,
    ):
        first = await service.answer("POST", "/chat", json={"prompt": "Hola"})
        path = f"/sessions/{first['session_id']}"
        before = await service.answer("GET", path)
        body = {"prompt": "Again", "session_id": first["session_id"]}

        await change(service, mountable, READ_ONLY)
        for headers in ({}, SSE):
            assert (
                await problem(service, "POST", "/chat", json=body, headers=headers) == unavailable
            )
        assert await problem(service, "POST", "/sessions/new") == unavailable
        assert await problem(service, "POST", f"{path}/reset") == unavailable
        assert await problem(service, "DELETE", path) == unavailable
        assert await problem(service, "GET", "/ready") == unavailable
        assert await service.answer("GET", path) == before

        await change(service, mountable, WRITABLE)
        assert (await service.client.post("/chat", json=body)).status_code == 200
        assert (await service.client.get("/ready")).status_code == 200
        found = await service.answer("GET", path)
    assert found["messages"][:2] == before["messages"]
    assert [m["content"] for m in found["messages"][2:]] == ["Again", "You said: Again"]


@pytest.mark.parametrize("folders", ["data", "data/auth data/memory/.locks"])
def test_read_only_folder_stops_the_start_with_one_line(mountable: Path, folders: str) -> None:
    read_only = after(MOUNT, f"mkdir -m 700 -p {folders}", READ_ONLY)
    ended = subprocess.run(
        (*read_only, sys.executable, "-m", "chatbot", "--port", "0"),
        cwd=mountable,
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("chatbot: STORAGE_URL: ")
    assert "serving" not in ended.stdout


# --- the same on SQLite ----------------------------------------------------------------------


@asynccontextmanager
async def small_disk_for_sqlite(folder: Path, upstream: FakeProvider) -> AsyncGenerator[Disk]:
    environment = with_provider(upstream) | SQLITE
    async with running(folder, *after(MOUNT_FOR_SQLITE, INIT), **environment) as service:
        data = Path(f"/proc/{service.process.pid}/root{folder}/data")

        def fill() -> None:
            with suppress(OSError), (data / "ballast").open("wb", buffering=0) as ballast:
                while ballast.write(b"x" * 4096):
                    pass

        yield Disk(service, data, fill, (data / "ballast").unlink)


async def check_full_disk_of_sqlite(disk: Disk, copy: Path) -> None:
    service, full = disk.service, (507, "storage_full")
    first = await service.answer("POST", "/chat", json={"prompt": "Hola"})
    path, body = f"/sessions/{first['session_id']}", {"session_id": first["session_id"]}
    await service.answer("PUT", f"{path}/summary", json={"summary": "old"})
    before = await service.answer("GET", path)

    for method, where, given in (
        ("POST", "/chat", {"json": {"prompt": LONG, **body}}),
        ("POST", "/chat", {"json": {"prompt": LONG, **body}, "headers": SSE}),
        ("PUT", f"{path}/summary", {"json": {"summary": LONG}}),
    ):
        disk.fill()  # each time: a failure ends with the log being written back, which makes room
        assert await problem(service, "GET", "/ready") == (503, "storage_unavailable")
        assert await problem(service, method, where, **given) == full
    assert await service.answer("GET", path) == before

    disk.clear()
    again = await service.answer("POST", "/chat", json={"prompt": "Again", **body})
    assert again["finish_reason"] == "stop"
    assert (await service.client.get("/ready")).status_code == 200
    found = await service.answer("GET", path)
    assert found["messages"][:-2] == before["messages"]
    assert [m["content"] for m in found["messages"][-2:]] == ["Again", again["text"]]
    seen = shutil.copytree(disk.data, copy)  # SQLite does not find its way through /proc
    async with SqlStorage(SqliteDatabase(seen / "chatbot.db"), replica="test") as storage:
        assert [line for line in await storage.inspect() if "chmod" not in line] == []


async def test_full_disk_with_sqlite_is_a_507_that_keeps_stored_data_and_recovers(
    mountable: Path,
) -> None:
    async with FakeProvider() as upstream, small_disk_for_sqlite(mountable, upstream) as disk:
        await check_full_disk_of_sqlite(disk, mountable / "copy")


async def test_file_size_limit_loses_no_data_of_sqlite(tmp_path: Path) -> None:
    """SQLite reports only that writing failed."""
    (tmp_path / "data").mkdir()
    await asyncio.to_thread(SqliteDatabase(tmp_path / "data" / "chatbot.db").create)
    await asyncio.to_thread(upgrade, SqliteDatabase(tmp_path / "data" / "chatbot.db"))
    async with (
        FakeProvider() as upstream,
        running(tmp_path, **with_provider(upstream), **SQLITE) as service,
    ):
        first = await service.answer("POST", "/chat", json={"prompt": "Hola"})
        path, pid = f"/sessions/{first['session_id']}", service.process.pid
        before = await service.answer("GET", path)
        body = {"prompt": LONG, "session_id": first["session_id"]}

        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        status, _ = await problem(service, "POST", "/chat", json=body)
        assert status in {503, 507}
        assert await problem(service, "GET", "/ready") == (503, "storage_unavailable")
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        assert await service.answer("GET", path) == before
        assert (await service.client.post("/chat", json=body)).status_code == 200


def test_read_only_file_of_sqlite_stops_the_start_with_one_line(mountable: Path) -> None:
    ended = subprocess.run(
        (*after(MOUNT_FOR_SQLITE, INIT, READ_ONLY), sys.executable, "-m", "chatbot", "--port", "0"),
        cwd=mountable,
        env=ENVIRONMENT | SQLITE,
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("chatbot: STORAGE_URL: ")
    assert "serving" not in ended.stdout
