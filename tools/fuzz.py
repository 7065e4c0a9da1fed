"""Schemathesis against a whole service, as every kind of caller. As a program: `make fuzz`.

The seed decides what is sent, so that `--seed` and `--seconds` of a finding show it again. What is
looked at stands in fuzz.toml and fuzz_checks.py. Further arguments are schemathesis's own, as in
`make fuzz ARGS="--seed 7 --seconds 60 --include-path /chat"`.
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from structlog.testing import capture_logs

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from service import ADMIN_EMAIL, API_KEY, PASSWORD, SSE, Service, serving, settings_for_tests

TOOLS = Path(__file__).resolve().parent
DOCUMENT = TOOLS.parent / "docs" / "openapi.json"
ST = Path(sysconfig.get_path("scripts")) / "st"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TOOLS)}
KEY = {"X-API-Key": API_KEY}
COVERAGE = ("--phases", "coverage")
GUESSES = ("--include-name", "DELETE /me", "--include-name", "POST /me/password")
NO_GUESSES = ("--exclude-name", "DELETE /me", "--exclude-name", "POST /me/password")
"""Wrong passwords make the user's log-ins wait."""
REACHES_ALL_S = 300
"""A shorter run, on a busy machine, may not come to every operation."""
STREAMS = ("--include-path", "/chat", "--exclude-checks", "response_schema_conformance")
"""That check holds each event against the schema of the whole stream, which is text."""


_NEEDS_MORE = re.compile(
    r"\{(user|key|limit)_id\}|/admin/roles/\{name\}|/admin/sessions/|/hold|/release"
).search
_WITH_A_SECRET = {
    *("DELETE /me", "POST /me/password", "POST /auth/refresh", "POST /auth/logout"),
    "GET /metrics",
}


async def main(seconds: int, seed: int, further: Sequence[str]) -> int:
    again = f'make fuzz ARGS="{" ".join([f"--seconds {seconds} --seed {seed}", *further])}"'
    print(again, flush=True)
    async with AsyncExitStack() as stack:
        lines = stack.enter_context(capture_logs())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = await stack.enter_async_context(serving_files(folder))
        stream = KEY | SSE
        guesser = KEY | await service.bearer("guesser@example.com")
        failed = [
            await schemathesis("nobody", service, {}, seed, seconds // 12, *COVERAGE, *further),
            await schemathesis("a client", service, KEY, seed, seconds * 3 // 12, *further),
            await schemathesis(
                "a user", service, KEY, seed, seconds * 6 // 12, *NO_GUESSES, *further
            ),
            not further
            and await schemathesis("a guesser", service, guesser, seed, seconds // 12, *GUESSES),
            await schemathesis("a reader", service, stream, seed, seconds // 12, *STREAMS),
            defects_of(lines),
            unreached(lines) and not further and seconds >= REACHES_ALL_S,
        ]
    if any(failed):
        print(f"found something. Again: {again}")
    return int(any(failed))


@asynccontextmanager
async def serving_files(folder: Path) -> AsyncGenerator[Service]:
    """A service as it is installed: files of JSON, the embedded model, one administrator."""
    async with JsonFileStorage(folder) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(storage_url=f"json:{folder}", genkit_model="local/extractive")
    async with serving(settings) as service:
        await service.add_user(ADMIN_EMAIL, "admin", "data_protection")
        await service.add_user("guesser@example.com")
        yield service


async def schemathesis(
    who: str, service: Service, headers: Mapping[str, str], seed: int, seconds: int, *options: str
) -> bool:
    """Whether calling as `who` finds anything."""
    print(f"\ncalling as {who}", flush=True)
    command = [str(ST), "--config-file", str(TOOLS / "fuzz.toml"), "run", "--url", service.url]
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    bounds = ["--seed", str(seed), "--max-time", str(max(1, seconds))]
    login = {
        "url": f"{service.url}/auth/login",
        "headers": KEY | {"Content-Type": "application/json"},
        "body": json.dumps({"email": ADMIN_EMAIL, "password": PASSWORD}),
    }
    environment = ENVIRONMENT | ({"FUZZ_LOGIN": json.dumps(login)} if who == "a user" else {})
    running = await asyncio.create_subprocess_exec(
        *command, *named, *bounds, *options, str(DOCUMENT), env=environment
    )
    return await running.wait() != 0


def defects_of(lines: Sequence[Mapping[str, object]]) -> bool:
    """Whether the log reports a defect, which the client of a stream may not see."""
    defects = Counter(
        f"{line.get('method')} {line.get('route')}: {line.get('cause')}"
        for line in lines
        if line["log_level"] == "error" and "cause" in line
    )
    for defect, count in defects.items():
        print(f"in the log, {count} times: {defect}")
    return bool(defects)


def unreached(lines: Sequence[Mapping[str, object]]) -> bool:
    """Show how often what was answered; an operation that never succeeded was not tested.

    Those that need a secret, or an id that only administrators get, succeed in tests/integration.
    """
    requests = [line for line in lines if line["event"] == "request"]
    counts = Counter(f"{line['method']} {line['route']} {line['status']}" for line in requests)
    for name, count in sorted(counts.items()):
        print(f"{count:7} {name}")
    reached = {name.rpartition(" ")[0] for name in counts if name[-3] == "2"}
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    expected = {
        f"{verb.upper()} {path}" for path in paths if not _NEEDS_MORE(path) for verb in paths[path]
    }
    missing = expected - reached - _WITH_A_SECRET
    print(f"never answered with success: {sorted(missing)}" if missing else "")
    return bool(missing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    given, rest = parser.parse_known_args()
    with suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main(given.seconds, given.seed, rest)))
