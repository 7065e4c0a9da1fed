"""docs/api.md: its clients work against a service, and its table of errors is complete."""

import json
import re
import shutil
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from chatbot.domain.permissions import Permission
from process import ENVIRONMENT, Running, running
from service import ADMIN_EMAIL, API_KEY, PASSWORD, serving

PAGE_FILE = Path(__file__).parents[2] / "docs" / "api.md"
PAGE = PAGE_FILE.read_text(encoding="utf-8")
CLIENTS = {"python": "A client in Python", "javascript": "A client in JavaScript"}
"""The headings above them."""
PYTHON = """
import json, sys
from client import Chatbot
url, key, email, password = sys.argv[1:]
bot = Chatbot(url, key)
bot.log_in(email, password)
first = bot.ask("Hello, my name is Ana.")
events = list(bot.stream("What is my name?", first["session_id"]))
try:
    bot.ask("   ")
except RuntimeError as error:
    refused = str(error)
spent = bot.refresh_token
bot.refresh()
again = bot.ask("And now?", first["session_id"])
bot.log_out()
bot.refresh_token = spent
try:
    bot.refresh()
except RuntimeError as error:
    ended = str(error)
print(json.dumps({
    "events": [event for event, _ in events], "done": events[-1][1], "refused": refused,
    "again": again["session_id"] == first["session_id"], "ended": ended,
}))
"""
JAVASCRIPT = """
import { Chatbot } from "./client.mjs";
const [url, key, email, password] = process.argv.slice(2);
const bot = new Chatbot(url, key);
await bot.logIn(email, password);
const first = await bot.ask("Hello, my name is Ana.");
const events = [];
for await (const each of bot.stream("What is my name?", first.session_id)) events.push(each);
const refused = await bot.ask("   ").catch((error) => error.message);
const spent = bot.refreshToken;
await bot.refresh();
const next = await bot.ask("And now?", first.session_id);
await bot.logOut();
bot.refreshToken = spent;
const ended = await bot.refresh().catch((error) => error.message);
console.log(JSON.stringify({
  events: events.map((each) => each.event), done: events.at(-1).data, refused,
  again: next.session_id === first.session_id, ended,
}));
"""


def code(language: str, *, after: str) -> str:
    """The first block in this language below a heading."""
    _, at, below = PAGE.partition(f"\n## {after}\n")
    assert at
    found = re.search(rf"^```{language}\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


async def run(program: str, script: Path, service: Running) -> dict[str, object]:
    url = str(service.client.base_url).rstrip("/")
    process = await create_subprocess_exec(
        program, script.name, url, API_KEY, ADMIN_EMAIL, PASSWORD, cwd=script.parent, stdout=PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, object] = json.loads(out)
    return found


async def make_administrator(folder: Path) -> None:
    process = await create_subprocess_exec(
        *(str(Path(sys.executable).with_name("chatbot")), "admin", "create"),
        *("--email", ADMIN_EMAIL, "--password-stdin"),
        cwd=folder,
        env=ENVIRONMENT,
        stdin=PIPE,
    )
    await process.communicate(PASSWORD.encode())
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("language", "name", "script", "program"),
    [
        ("python", "client.py", PYTHON, sys.executable),
        pytest.param(
            "javascript",
            "client.mjs",
            JAVASCRIPT,
            "node",
            marks=pytest.mark.skipif(not shutil.which("node"), reason="needs Node"),
        ),
    ],
)
async def test_client_on_the_page_logs_in_asks_streams_and_reports_errors(
    language: str, name: str, script: str, program: str, tmp_path: Path
) -> None:
    await make_administrator(tmp_path)
    (tmp_path / name).write_text(code(language, after=CLIENTS[language]), encoding="utf-8")
    caller = tmp_path / f"caller{Path(name).suffix}"
    caller.write_text(script, encoding="utf-8")
    async with running(tmp_path, MEM_STRUCTURED_ENABLE="true") as service:
        found = await run(program, caller, service)
    events, done = found["events"], found["done"]
    assert isinstance(events, list)
    assert isinstance(done, dict)
    assert events[0] == "session"
    assert set(events[1:-1]) - {"memory"} == {"delta"}  # the name may not be extracted yet
    assert events[-1] == "done"
    assert done["text"] == "Your name is Ana."
    assert found["refused"] == "invalid_request"
    assert (found["again"], found["ended"]) == (True, "invalid_token")


async def test_example_on_the_page_calls_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(
        code("python", after="Calling for your own users"), encoding="utf-8"
    )
    ask = "import json, sys, example; print(json.dumps(example.ask(*sys.argv[1:])))"
    async with serving() as service:
        await service.add_admin()
        made = await service.add_key(Permission.CHAT, Permission.ACT_FOR_USERS, client="intranet")
        assert made.assertion_secret
        process = await create_subprocess_exec(
            *(sys.executable, "-c", ask, service.url, made.raw_key, made.assertion_secret),
            *("intranet", ADMIN_EMAIL, "Hello, my name is Ana."),
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        path = f"/sessions/{json.loads(out)['session_id']}"
        answer = await service.client.get(path, headers=await service.bearer())
    assert answer.json()["messages"][0]["content"] == "Hello, my name is Ana."


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_client_on_the_page_is_short(language: str) -> None:
    assert (
        len([line for line in code(language, after=CLIENTS[language]).splitlines() if line.strip()])
        <= 60
    )


def codes_in(value: object) -> set[str]:
    """The values of `code` in every schema of the document."""
    if isinstance(value, list):
        return {code for each in value for code in codes_in(each)}
    if not isinstance(value, dict):
        return set()
    code = value.get("properties", {}).get("code", {})
    return {*code.get("enum", []), *filter(None, [code.get("const")]), *codes_in([*value.values()])}


def test_every_documented_error_is_in_the_table_of_retries() -> None:
    document = json.loads((PAGE_FILE.parent / "openapi.json").read_text(encoding="utf-8"))
    table = PAGE[PAGE.index("| status and code |") :].partition("\n\n")[0]
    assert codes_in(document) > {"session_busy", "storage_full"}
    assert codes_in(document) <= set(re.findall(r"`([a-z_]+)`", table))
