"""A service for the demo: in a folder of its own, with the people and documents of the example company."""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatbot.application.user_changes import NewUser
from chatbot.domain.authorization import of_host
from chatbot.entrypoints.commands.store import make_store
from chatbot.entrypoints.lifecycle import opened_management
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import settings_of
from example_company import Company, ExampleDocument, Person

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".eml": "message/rfc822",
    ".html": "text/html",
    ".md": "text/markdown",
    ".txt": "text/plain",
}
STARTS_WITHIN_S, STOPS_WITHIN_S, READY_WITHIN_S = 60, 30, 120
_PAUSE_S = 0.1
_PAGE = 100
_PASSWORD_WORDS = (
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grape", "hazel", "indigo", "juniper",
    "kelp", "lemon", "maple", "nutmeg", "olive", "pepper", "quartz", "river", "saffron", "thyme",
)  # fmt: skip


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoService:
    """Where the service listens, and the passwords of the people by e-mail address."""

    url: str
    api_key: str
    passwords: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)

    def sign_in(self, person: Person) -> str:
        """Return the access token of the person."""
        if person.email not in self.tokens:
            body = {"email": person.email, "password": self.passwords[person.email]}
            self.tokens[person.email] = str(self.call("POST", "/auth/login", body)["access_token"])
        return self.tokens[person.email]

    def call(self, method: str, path: str, body: object = None, *, by: str = "") -> Any:
        """Return what the service answers, to the person with the token `by`.

        Raises:
            DemoFailed: it refuses the call.
        """
        headers = {"X-API-Key": self.api_key, "Content-Type": "application/json"}
        if by:
            headers["Authorization"] = f"Bearer {by}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with _opener().open(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise DemoFailed(f"{method} {path}: {error.code} {error.read().decode()}") from error


def _opener() -> urllib.request.OpenerDirector:
    """Of requests to this machine, which need no proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def demo_service(
    folder: Path, company: Company, *, port: int = 0
) -> Iterator[tuple[DemoService, "subprocess.Popen[bytes]"]]:
    """Serve until the end of the block; the people exist, the documents do not yet."""
    environment = {
        "API_KEY": secrets.token_hex(20),
        "JWT_SECRET": secrets.token_hex(24),
        "JWT_TTL_MINUTES": "480",
        "RATE_LIMIT_PER_MINUTE": "0",
        "STORAGE_URL": f"json:{folder / 'data'}",
    }
    passwords = {person.email: _new_password() for person in company.accounts}
    settings = settings_of({name.lower(): value for name, value in environment.items()})
    make_store(settings)
    asyncio.run(_add_people(settings, company, passwords))
    out = folder / "service.out"
    with out.open("wb") as stdout, (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "chatbot", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=stdout,
            stderr=log,
        )
    try:
        url = _serving_at(process, out, folder / "service.log")
        service = DemoService(url=url, api_key=environment["API_KEY"], passwords=passwords)
        yield service, process
    finally:
        process.terminate()
        process.wait(STOPS_WITHIN_S)


def _new_password() -> str:
    return "-".join(secrets.choice(_PASSWORD_WORDS) for _ in range(4))


async def _add_people(settings: Settings, company: Company, passwords: dict[str, str]) -> None:
    host = of_host("demo")
    async with opened_management(settings) as management:
        for person in company.accounts:
            new = NewUser(
                email=person.email,
                roles=person.roles,
                department=person.department,
                password=passwords[person.email],
            )
            await management.people.create(host, new)


def _serving_at(process: "subprocess.Popen[bytes]", out: Path, log: Path) -> str:
    """Return the address once the service is ready."""
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"^serving: (\S+)", out.read_text(encoding="utf-8"), re.MULTILINE)
        if found and _is_ready(found[1]):
            return found[1]
        time.sleep(_PAUSE_S)
    raise DemoFailed(f"The service did not start:\n{log.read_text(encoding='utf-8')}")


def _is_ready(url: str) -> bool:
    try:
        with _opener().open(f"{url}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def upload(service: DemoService, documents: tuple[ExampleDocument, ...], *, by: Person) -> None:
    """Upload the documents with their access, and wait until all can be searched.

    Raises:
        DemoFailed: one of them cannot be.
    """
    token = service.sign_in(by)
    for document in documents:
        body = {
            "title": document.title,
            "text": document.path.read_text(encoding="utf-8"),
            "media_type": MEDIA_TYPES[document.path.suffix],
            "access": document.access,
            "labels": document.labels,
        }
        service.call("POST", "/documents", body, by=token)
    until = time.monotonic() + READY_WITHIN_S
    while waiting := _unready(service, token):
        if time.monotonic() > until:
            raise DemoFailed(f"These documents are not ready: {', '.join(waiting)}")
        time.sleep(_PAUSE_S)


def _unready(service: DemoService, token: str) -> list[str]:
    found = service.call("GET", f"/documents?limit={_PAGE}", by=token)["documents"]
    failed = [
        f"{each['title']}: {each.get('reason')}" for each in found if each["status"] == "failed"
    ]
    if failed:
        raise DemoFailed(f"These documents failed: {', '.join(failed)}")
    return [each["title"] for each in found if each["status"] != "ready"]
