"""docs/security.md lists every action of the audit, and no other."""

import re
from pathlib import Path

from chatbot.domain.audit import Action

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def test_documented_actions_are_all_that_there_are() -> None:
    _, _, behind = PAGE.read_text("utf-8").partition("### Actions\n")
    table, _, _ = behind.partition("\nNot recorded:")
    documented = re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)
    assert documented == sorted(action.value for action in Action)
