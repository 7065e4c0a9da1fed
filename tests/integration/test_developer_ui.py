"""Genkit's developer mode: flows run the real use cases, and public addresses are refused."""

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx

from conversation import PATIENCE_S
from process import ENVIRONMENT, Running, running

FLOWS = {"/flow/chat", "/flow/summarize", "/flow/extract_memory"}
DEVELOPING = {"GENKIT_ENV": "dev", "MEM_STRUCTURED_ENABLE": "true"}


async def reflection_of(service: Running) -> str:
    """The address that Genkit writes to a file, from its own thread."""
    folder = service.log.parent / ".genkit" / "runtimes"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for runtime in folder.glob("*.json"):
                if text := runtime.read_text(encoding="utf-8"):
                    return str(json.loads(text)["reflectionServerUrl"])
            await asyncio.sleep(0.05)


async def run_flow(
    service: Running, name: str, given: dict[str, object], *, stream: bool = False
) -> httpx.Response:
    url = f"{await reflection_of(service)}/api/runAction{'?stream=true' if stream else ''}"
    return await service.client.post(url, json={"key": f"/flow/{name}", "input": given})


async def test_flows_are_listed_and_run_the_real_use_cases(tmp_path: Path) -> None:
    async with running(tmp_path, **DEVELOPING) as service:
        actions = await service.answer("GET", f"{await reflection_of(service)}/api/actions")
        assert actions.keys() >= FLOWS

        prompt: dict[str, object] = {"prompt": "Hola, me llamo Eva"}
        streamed = (await run_flow(service, "chat", prompt, stream=True)).text.splitlines()
        answer = json.loads(streamed[-1])["result"]
        assert len(streamed) > 1
        assert answer.keys() >= {"session_id", "text", "turn_id", "usage", "model", "memory_used"}

        session = {"session_id": answer["session_id"]}
        memory = (await run_flow(service, "extract_memory", session)).json()["result"]
        assert memory["structured_memory"]["profile"]["name"] == "Eva"
        summary = (await run_flow(service, "summarize", session)).json()["result"]
        assert summary.keys() == {"session_id", "summary"}

        over_http = await service.answer("GET", f"/sessions/{answer['session_id']}")
        assert over_http["messages"][0]["content"] == "Hola, me llamo Eva"
        service.process.terminate()
        assert os.name == "nt" or await service.process.wait() == 0


async def test_flow_with_an_unknown_session_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path, **DEVELOPING) as service:
        answer = await run_flow(service, "summarize", {"session_id": "0" * 32})
        assert "NotFound" in answer.json()["error"]["message"]


async def test_without_developer_mode_no_other_port_is_open(tmp_path: Path) -> None:
    async with running(tmp_path):
        assert not (tmp_path / ".genkit").exists()


async def test_developer_mode_on_a_public_address_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatbot", "--host", "0.0.0.0"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=tmp_path,
        env=ENVIRONMENT | DEVELOPING,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode().startswith("chatbot: GENKIT_ENV:")
