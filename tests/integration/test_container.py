"""The container: typed wiring, each part built once, an injected storage serves every route."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.storage import Found
from chatbot.domain.ports.telemetry import NO_TELEMETRY
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.model_parts import build_model, build_prompt_builder
from chatbot.entrypoints.container.wiring import Container, build
from model_calls import ask
from service import ADMIN_EMAIL, PASSWORD, serving, settings_for_tests

SESSION = f"/sessions/{'0' * 32}"
NEEDS_STORAGE: list[tuple[str, str, dict[str, object] | None]] = [
    ("GET", "/ready", None),
    ("POST", "/auth/login", {"email": ADMIN_EMAIL, "password": PASSWORD}),
    ("POST", "/chat", {"prompt": "hi"}),
    ("POST", "/sessions/new", None),
    ("GET", "/sessions", None),
    ("GET", SESSION, None),
    ("DELETE", SESSION, None),
    ("POST", f"{SESSION}/reset", None),
    ("GET", f"{SESSION}/summary", None),
    ("PUT", f"{SESSION}/summary", {"summary": "x"}),
    ("POST", f"{SESSION}/summary/reset", None),
    ("GET", f"{SESSION}/memory", None),
    ("PUT", f"{SESSION}/memory", {"structured_memory": {}}),
    ("POST", f"{SESSION}/memory/reset", None),
]


class DownStorage(InMemoryStorage):
    """A storage whose every call fails."""

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        raise StorageUnavailable("The store is down.")

    async def check(self) -> None:
        raise StorageUnavailable("The store is down.")


def test_each_part_is_made_once() -> None:
    container = Container(settings=settings_for_tests())
    for name in Container.providers:
        part = getattr(container, name)
        assert part() is part(), name


async def test_a_part_that_is_passed_replaces_the_built_one() -> None:
    storage, model = InMemoryStorage(), ScriptedModel([])
    use = build(settings_for_tests(), storage=storage, model=model)
    assert (use.storage, use.model.name, use.genkit_model) == (storage, model.name, None)
    assert build(settings_for_tests()).storage is not storage
    await use.hasher.aclose()


_MISSPELT = """
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.settings.loading import load_settings

use = build(load_settings(), model=ScriptedModel([]))
reveal_type(use.chat)
use.chats
build(load_settings(), modell=ScriptedModel([]))
build(load_settings(), storage=ScriptedModel([]))
load_settings().http.hosts
"""


def test_a_misspelt_part_or_attribute_fails_the_type_check(tmp_path: Path) -> None:
    program = tmp_path / "misspelt.py"
    program.write_text(_MISSPELT, "utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "--show-error-codes", str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    lines = [line.partition("misspelt.py:")[2] for line in found.stdout.splitlines()]
    errors = [(line[:2].strip(":"), line.split()[-1]) for line in lines if " error: " in line]
    assert lines[0] == '7: note: Revealed type is "chatbot.application.chat.Chat"', found.stderr
    assert errors == [
        ("8", "[attr-defined]"),
        ("9", "[call-arg]"),
        ("10", "[arg-type]"),
        ("11", "[attr-defined]"),
    ], found.stdout


@pytest.mark.parametrize(
    ("name", "strips", "text"),
    [
        ("openai/m", True, "hola"),
        ("openai/m", False, "<think>hm</think>hola"),
        ("local/extractive", True, "<think>hm</think>hola"),
    ],
)
async def test_thinking_is_removed_from_answers_of_a_provider_unless_it_is_wanted(
    name: str, strips: bool, text: str
) -> None:
    said = ScriptedModel(["<think>hm</think>hola"], name=name)
    settings = settings_for_tests(model_strip_thinking=strips)
    model = build_model(settings, said, NO_TELEMETRY, build_prompt_builder(settings))
    assert (await model.complete(ask())).text == text


async def test_a_storage_that_is_passed_serves_every_route() -> None:
    async with serving(storage=DownStorage(), model=ScriptedModel([])) as service:
        for method, path, body in NEEDS_STORAGE:
            answer = await service.client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable"), path


async def test_uvicorns_factory_serves_the_settings_of_the_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    secret = {"API_KEY": secrets.token_hex(20), "JWT_SECRET": secrets.token_hex(20)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--factory", "--port", str(port)),
        "chatbot.entrypoints.http.app:create_app",
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("OPENAI")} | secret,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            for _ in range(600):
                assert process.returncode is None
                try:
                    answer = await http.get("/ready")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
            assert answer.json() == {"status": "ok"}
    finally:
        process.terminate()
        await process.wait()
