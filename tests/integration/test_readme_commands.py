"""The commands of each README, run as written, and the output that it shows."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from process import running
from service import ADMIN_EMAIL, PASSWORD
from shell import blocks, documents, terminal

PAGES = ("README.md", "README.es.md")
ELSEWHERE = ("make run", "make test")
"""These install, or run all of this: CI and the tests of tasks.py do them."""
UNTIL_READY = (
    'until curl -s http://127.0.0.1:8000/documents -H "X-API-Key: $KEY" '
    '-H "Authorization: Bearer $TOKEN" | grep -q \'"status":"ready"\'; do sleep 0.1; done'
)
"""What a reader does, too."""

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "sed"))), reason="needs bash, curl and sed"
)


def shape(value: Any) -> Any:
    """The keys and the types of values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_here_or_said_to_be_run_elsewhere(page: str) -> None:
    commands = blocks(page, "sh")
    assert [block for block in commands if block.startswith(ELSEWHERE)] == commands[:2]
    assert len(commands) == 12


@pytest.mark.parametrize("page", PAGES)
async def test_commands_of_the_readme_do_what_it_says(page: str, tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    first, stream, chat, person, again, user, upload, ask, backup, restore = (
        block for block in blocks(page, "sh") if not block.startswith(ELSEWHERE)
    )
    shown, name_shown, cited = (json.loads(block) for block in blocks(page, "json"))
    async with terminal(tmp_path) as shell:
        await shell.run(  # what `make run` does before it serves
            ".venv/bin/chatbot init; .venv/bin/chatbot admin create --email "
            f"{ADMIN_EMAIL} --password-stdin <<< '{PASSWORD}'"
        )
        key = re.findall(r"^API_KEY=(.+)$", (tmp_path / ".env").read_text("utf-8"), re.MULTILINE)[0]
        as_in_env = {"API_KEY": key, "MEM_STRUCTURED_ENABLE": "true"}

        async with running(tmp_path, **as_in_env) as service:
            shell.url = str(service.client.base_url).rstrip("/")
            banner = service.out.read_text("utf-8")
            assert "local/extractive: embedded, not a language model; to connect one, set" in banner
            [answer] = documents(await shell.run(first))
            assert shape(answer) == shape(shown)
            assert (answer["text"], answer["notice"]) == (shown["text"], shown["notice"])
            about = pytest.approx(shown["usage"]["input_tokens"], rel=0.1)  # our part may grow
            assert answer["usage"] == {**shown["usage"], "input_tokens": about}

            events = re.findall(r"^event: (\w+)$", await shell.run(stream), re.MULTILINE)
            assert events[0] == "session"
            assert (events[1], set(events[2:-1])) == ("memory", {"delta"}), "the name is remembered"
            assert events[-1] == "done"
            assert (await shell.run(chat)).endswith(f"\n{name_shown['text']}\n")

            answer, memory = documents(await shell.run(person))
            assert "Ana" in answer["text"]
            assert memory["structured_memory"]["profile"]["name"] == "Ana"

        async with running(tmp_path, **as_in_env) as service:
            shell.url = str(service.client.base_url).rstrip("/")
            [answer] = documents(await shell.run(again))
            assert {key: answer[key] for key in name_shown} == name_shown
            assert await shell.run(user) == "user: luis@example.com\n"
            [uploaded] = documents(await shell.run(upload))
            assert uploaded["document"]["status"] == "queued"
            await shell.run(UNTIL_READY)
            [answer] = documents(await shell.run(ask))
            [found], [citation] = answer["citations"], cited["citations"]
            assert {key: found[key] for key in citation} == citation
            assert "[1]" in answer["text"]
            assert re.fullmatch(
                r"\d+ saved \(5 roles, 2 users, .*\d+ sessions.*\)\n", await shell.run(backup)
            )

        await shell.run("mkdir away; mv data away")
        restored, indexed, *well = (await shell.run(restore)).splitlines()
        assert re.fullmatch(r"\d+ new \(5 roles, 2 users, .*\d+ sessions.*\)", restored)
        assert indexed == "documents: indexed 1"
        assert {line.split()[0] for line in well} == {"ok"}
        assert "luis@example.com" in (tmp_path / "data/auth/users.json").read_text("utf-8")
