"""The commands of the guides that read the log of the service, which is not JSON throughout."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from programs import program

DOCS = Path(__file__).parents[2] / "docs"
HEAD = f"audit head 12:{'0' * 64}"
LOG = [
    "data: /srv/chatbot/data",
    "serving: http://127.0.0.1:8000",
    "42",
    json.dumps({"event": "request", "route": "/chat", "status": 200, "pid": 7}),
    json.dumps(
        {"event": "request", "route": "/chat", "status": 503, "cause": "No model.", "pid": 8}
    ),
    json.dumps({"seq": 1, "action": "auth.login", "outcome": "allowed"}),
    json.dumps({"event": HEAD}),
]


@pytest.mark.parametrize(
    ("guide", "marker", "expected"),
    [
        ("operations.md", ".cause", ["No model."]),
        ("operations.md", "audit head", [HEAD]),
        ("scaling.md", ".pid", ["7", "8"]),
    ],
)
def test_command_of_a_guide_skips_lines_that_are_not_json(
    guide: str, marker: str, expected: list[str]
) -> None:
    commands = re.findall(
        r"(?:journalctl|chatbot serve).*\| jq (-\w+) '([^']+)'", (DOCS / guide).read_text("utf-8")
    )
    [(option, wanted)] = [each for each in commands if marker in each[1]]
    found = subprocess.run(
        [program("jq"), option, wanted],
        input="\n".join(LOG),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == expected
