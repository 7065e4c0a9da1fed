"""A real Prometheus that scrapes a port of this machine.

async with prometheus(tmp_path, port) as server:
    await server.answer("up")
"""

import asyncio
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from nginx import free_ports
from process import STARTS_WITHIN_S
from programs import program

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: chatbot
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
Series = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    client: httpx.AsyncClient

    async def get(self, path: str, **parameters: str) -> Any:
        answer = await self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def answer(self, expression: str) -> Series:
        found: Series = (await self.get("query", query=expression))["result"]
        return found


@asynccontextmanager
async def prometheus(folder: Path, scraped_port: int) -> AsyncGenerator[Prometheus]:
    """Scrape the port once a second, with the shipped alert rules."""
    folder = folder / "prometheus"
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(rules=DEPLOY / "alerts.yml", port=scraped_port), "utf-8")
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            server = Prometheus(client=client)
            await _until_it_scrapes(process, server)
            yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_it_scrapes(process: asyncio.subprocess.Process, server: Prometheus) -> None:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while True:
            assert process.returncode is None, "Prometheus ended"
            try:
                if await server.answer("up == 1"):
                    return
            except (httpx.TransportError, AssertionError):
                pass
            await asyncio.sleep(0.1)
