"""Genkit's developer mode: the flows with the real use cases behind them, and the closed door."""

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FLOWS = {"/flow/chat", "/flow/summarize", "/flow/extract_memory"}


@dataclass(frozen=True, kw_only=True)
class Running:
    """`chatbot serve` in a process of its own."""

    http: httpx.AsyncClient
    url: str
    folder: Path

    async def flow(self, name: str, given: dict[str, object], *, stream: bool = False) -> Any:
        body = {"key": f"/flow/{name}", "input": given}
        query = "?stream=true" if stream else ""
        url = f"{await self._reflection()}/api/runAction{query}"
        answer = await self.http.post(url, json=body)
        return answer.text if stream else answer.json()

    async def actions(self) -> set[str]:
        return set((await self.http.get(f"{await self._reflection()}/api/actions")).json())

    async def _reflection(self) -> str:
        """Genkit writes its address to a file, in a thread of its own."""
        for _ in range(600):
            for runtime in (self.folder / ".genkit" / "runtimes").glob("*.json"):
                if text := runtime.read_text(encoding="utf-8"):
                    return str(json.loads(text)["reflectionServerUrl"])
            await asyncio.sleep(0.05)
        raise AssertionError("no reflection server within 30 s")


def _environment(**given: str) -> dict[str, str]:
    secret = {"API_KEY": secrets.token_hex(20), "JWT_SECRET": secrets.token_hex(20)}
    system = {k: v for k, v in os.environ.items() if not k.startswith(("GENKIT", "OPENAI"))}
    return system | secret | given


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@asynccontextmanager
async def running(folder: Path, environment: dict[str, str]) -> AsyncGenerator[Running]:
    port = _free_port()
    command = [sys.executable, "-m", "chatbot", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    key = {"X-API-Key": environment["API_KEY"]}
    async with httpx.AsyncClient(timeout=20, trust_env=False, headers=key) as http:
        url = f"http://127.0.0.1:{port}"
        await _ready(http, url, process)
        try:
            yield Running(http=http, url=url, folder=folder)
        finally:
            process.terminate()
            assert await process.wait() == 0


async def _ready(http: httpx.AsyncClient, url: str, process: asyncio.subprocess.Process) -> None:
    for _ in range(600):
        assert process.returncode is None
        try:
            if (await http.get(f"{url}/ready")).status_code == 200:
                return
        except httpx.ConnectError:
            await asyncio.sleep(0.05)
    raise AssertionError("not ready within 30 s")


async def test_flows_are_listed_and_run_the_real_use_cases(tmp_path: Path) -> None:
    async with running(tmp_path, _environment(GENKIT_ENV="dev")) as service:
        assert await service.actions() >= FLOWS

        streamed = await service.flow("chat", {"prompt": "Hola, me llamo Eva"}, stream=True)
        answer = json.loads(streamed.splitlines()[-1])["result"]
        assert len(streamed.splitlines()) > 1
        assert answer.keys() >= {"session_id", "text", "turn_id", "usage", "model", "memory_used"}

        session = {"session_id": answer["session_id"]}
        memory = (await service.flow("extract_memory", session))["result"]
        assert memory["structured_memory"]["profile"]["name"] == "Eva"
        assert (await service.flow("summarize", session))["result"].keys() == {
            "session_id",
            "summary",
        }

        over_http = await service.http.get(f"{service.url}/sessions/{answer['session_id']}")
        assert over_http.json()["messages"][0]["content"] == "Hola, me llamo Eva"


async def test_flow_with_an_unknown_session_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path, _environment(GENKIT_ENV="dev")) as service:
        answer = await service.flow("summarize", {"session_id": "0" * 32})
        assert "NotFound" in answer["error"]["message"]


async def test_without_developer_mode_nothing_else_is_opened(tmp_path: Path) -> None:
    async with running(tmp_path, _environment()) as service:
        assert not (service.folder / ".genkit").exists()


async def test_developer_mode_on_a_public_address_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatbot", "--host", "0.0.0.0"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=tmp_path,
        env=_environment(GENKIT_ENV="dev"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode().startswith("chatbot: GENKIT_ENV:")
