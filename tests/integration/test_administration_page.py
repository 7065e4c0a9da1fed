"""The commands about people and roles in docs/administration.md work as written, in their order."""

import re
import shlex
from pathlib import Path

import pytest

from commands import Run
from service import PASSWORD

PAGE = Path(__file__).parents[2] / "docs" / "administration.md"
SECTIONS = ("People", "Roles")


def commands_of(section: str) -> list[list[str]]:
    """The commands of a section, split as a shell does it."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("section", SECTIONS)
def test_commands_of_the_page_succeed_in_their_order(ready: Run, section: str) -> None:
    admin = ("admin", "create", "--email", "ana@example.com", "--password-stdin")
    assert ready(*admin, text=PASSWORD)[0] == 0
    commands = commands_of(section)
    assert len(commands) >= 3
    for program, *arguments in commands:
        assert program == "chatbot"
        code, out, err = ready(*arguments)
        assert code == 0, (arguments, err)
        assert out
