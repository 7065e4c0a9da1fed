"""`python tasks.py demo`: a company with documents, and five people who ask."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are not in the lock

from demo import ask
from demo_service import DemoService
from example_company import example_company
from process import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 120
COMPANY = example_company()


@asynccontextmanager
async def demo(folder: Path) -> AsyncGenerator[Process]:
    """The demo, in the folder, until the block ends."""
    environment = {
        **{name: value for name, value in ENVIRONMENT.items() if name in {"PATH", "SYSTEMROOT"}},
        "PYTHONPATH": str(ROOT / "tools"),
        "PYTHONUTF8": "1",
        "TMPDIR": str(folder),
        "TEMP": str(folder),
    }
    program = str(ROOT / "tools" / "demo.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, cwd=folder, env=environment, stdout=PIPE
    )
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children() if process.returncode is None else ():
            child.terminate()  # the service: the demo ends with it
        await process.wait()


async def introduction_of(process: Process) -> str:
    assert process.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = await process.stdout.readline()
        assert line, said
        said += line.decode()
    return said


def service_of(introduction: str) -> DemoService:
    """What a person learns from the text."""
    emails = re.findall(r"e-mail: +(\S+)", introduction)
    passwords = re.findall(r"password: +(\S+)", introduction)
    return DemoService(
        url=re.findall(r"serving: (\S+)", introduction)[0],
        api_key=re.findall(r"X-API-Key: (\w+)", introduction)[0],
        passwords=dict(zip(emails, passwords, strict=True)),
    )


async def test_people_of_the_demo_are_answered_from_the_documents_that_they_may_read(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(WITHIN_S), demo(tmp_path) as process:
        introduction = await introduction_of(process)
        service = service_of(introduction)
        bearers = re.findall(r"Bearer (\S+)\"", introduction)
        me = await asyncio.to_thread(service.call, "GET", "/me", by=bearers[0])
        said = await asyncio.to_thread(ask, service, COMPANY)

    assert me["email"] == COMPANY.people[0].email
    assert len(set(bearers)) == len(COMPANY.people)
    by_person = re.split(r"^(?=\S.* \(\w+; )", said, flags=re.MULTILINE)[1:]
    assert len(by_person) == len(COMPANY.people)
    for person, answers in zip(COMPANY.people, by_person, strict=True):
        cited = set(re.findall(r"(\w+/[\w.-]+)(?:,|$)", answers, re.MULTILINE))
        readable = {each.file for each in COMPANY.documents if each.may_be_read_by(person)}
        assert answers.count("cites:") == 10
        assert cited
        assert "admin" in person.roles or cited <= readable
    right, asked = map(int, re.findall(r"(\d+) of (\d+) answers cite", said)[0])
    assert asked == 50
    assert right >= 40, said
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - the loop is its own
