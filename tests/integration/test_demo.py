"""`python tasks.py demo`: a company with documents, and five people who ask."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are not in the lock

from demo import Answered, ask, report
from demo_service import DemoService
from example_company import example_company
from process import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 120
LEAST_RIGHT = 48
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


async def test_people_of_the_demo_get_right_answers_from_the_documents_that_they_may_read(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(WITHIN_S), demo(tmp_path) as process:
        introduction = await introduction_of(process)
        service = service_of(introduction)
        bearers = re.findall(r"Bearer (\S+)\"", introduction)
        me = await asyncio.to_thread(service.call, "GET", "/me", by=bearers[0])
        found = await asyncio.to_thread(ask, service, COMPANY)

    assert me["email"] == COMPANY.people[0].email
    assert len(set(bearers)) == len(COMPANY.people)
    assert service.passwords.keys() == {each.email for each in COMPANY.accounts}
    readable = {
        person.email: {each.file for each in COMPANY.documents if each.may_be_read_by(person)}
        for person in COMPANY.people
    }
    assert len(found) == 50
    assert [each for each in found if not readable[each.person.email].issuperset(each.cited)] == []
    assert [each for each in found if each.cited and not each.is_right] == []
    right = sum(each.is_right for each in found)
    assert right >= LEAST_RIGHT, report(found)
    assert report(found).endswith(f"\n{right} of 50 answers are as expected.")
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - the loop is its own


def test_an_answer_is_right_with_the_expected_words_and_file_only() -> None:
    person = COMPANY.people[0]
    [question, *_] = person.questions
    assert question.file
    [word] = question.words

    def is_right(text: str, *cited: str) -> bool:
        return Answered(person=person, question=question, text=text, cited=cited).is_right

    assert is_right(f"It is {word}.", question.file)
    assert not is_right("It is something.", question.file)
    assert not is_right(f"It is {word}.")
    [*_, nowhere] = person.questions
    assert nowhere.file is None
    assert nowhere.is_met_by("Nothing.", ())
    assert not nowhere.is_met_by(f"It is {word}.", (question.file,))
