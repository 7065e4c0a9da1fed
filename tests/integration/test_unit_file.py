"""The systemd unit `deploy/chatbot.service`: systemd's findings, and that it allows enough."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from conversation import eventually
from process import STOPS_WITHIN_S, running
from programs import program
from service import SSE, code_of

if sys.platform != "linux":
    pytest.skip("systemd is Linux's", allow_module_level=True)

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "chatbot.service"
EXPOSURE = 15  # tenths; 0 is best, 100 worst; what is left is the network and the scheduler


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    command = ("systemd-analyze", "--no-pager", *arguments)
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """A copy of the unit whose program exists."""
    text = UNIT.read_text(encoding="utf-8")
    assert text.count("/opt/chatbot/bin/chatbot ") == 1
    copy = tmp_path / UNIT.name
    chatbot = Path(sys.executable).with_name("chatbot")
    copy.write_text(text.replace("/opt/chatbot/bin/chatbot ", f"{chatbot} "), encoding="utf-8")
    return str(copy)


def test_systemd_finds_nothing_wrong(unit: str) -> None:
    found = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_systemd_takes_the_change_for_postgres_of_the_guide(unit: str) -> None:
    guide = (UNIT.parents[1] / "docs" / "deploying.md").read_text(encoding="utf-8")
    [change] = re.findall(r"^```ini\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    chatbot = Path(sys.executable).with_name("chatbot")
    folder = Path(f"{unit}.d")
    folder.mkdir()
    (folder / "override.conf").write_text(
        change.replace("/opt/chatbot/bin/chatbot", str(chatbot)), encoding="utf-8"
    )
    found = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_unit_exposes_little_to_an_attacker(unit: str) -> None:
    found = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", unit)
    assert found.returncode == 0, found.stdout + found.stderr


def allowed_calls() -> set[str]:
    """The calls that `SystemCallFilter=` allows, by systemd's own list of groups."""
    printed = analyze("syscall-filter").stdout
    groups = {
        name: re.findall(r"^ +([@\w-]+)$", members, re.MULTILINE)
        for name, members in re.findall(r"^(@[\w-]+)\n((?: .*\n|\n)*)", printed, re.MULTILINE)
    }

    def members(name: str) -> set[str]:
        inside = (members(member) for member in groups[name] if member.startswith("@"))
        return set(groups[name]).union(*inside)

    allowed = set[str]()
    for rule in re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text("utf-8"), re.MULTILINE):
        if rule.startswith("~"):
            allowed -= members(rule[1:])
        else:
            allowed |= members(rule)
    return allowed


def tracer() -> tuple[str, ...]:
    """Run strace without becoming the parent of the program's process."""
    return (program("strace"), "-D", "-f", "-q", "-s", "0", "-e", "signal=none", "-o", "calls.txt")


async def test_unit_allows_everything_the_service_does(tmp_path: Path) -> None:
    allowed = allowed_calls()
    async with JsonFileStorage(tmp_path / "data") as storage:
        await storage.make_initial_records()
    async with running(tmp_path, *tracer()) as service:
        hello = {"prompt": "Hello, my name is Ana."}
        assert (await service.client.post("/chat", json=hello)).status_code == 200
        streamed = await service.client.post("/chat", json=hello, headers=SSE)
        assert "event: done" in streamed.text
        body = {"email": "nobody@example.com", "password": "not the right password"}
        answer = await service.client.post("/auth/login", json=body)
        assert code_of(answer) == (401, "invalid_credentials")
        service.process.terminate()
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0

    calls = tmp_path / "calls.txt"
    await eventually(lambda: " +++ exited with" in calls.read_text("utf-8")[-200:])
    text = calls.read_text("utf-8")
    made = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    assert {"fdatasync", "getpriority"} <= made  # it was all seen: turns, and a log-in
    made |= {"setpriority"}  # called unless the priority is low already
    made -= {"fchown"}  # only as root, SQLite gives its log the owner of its file
    assert made - allowed == set()
    # what MemoryDenyWriteExecute= forbids, by systemd.exec(5)
    assert re.findall(r"mmap\(.*PROT_WRITE\|PROT_EXEC.*|mprotect\(.*PROT_EXEC.*", text) == []
