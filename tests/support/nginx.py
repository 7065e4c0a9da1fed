"""nginx with `deploy/nginx.conf`; only addresses and paths differ.

async with nginx(tmp_path, service.url) as front:
    await front.client.get("/health")
"""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from company_network import Authority
from process import STARTS_WITHIN_S
from programs import program
from service import API_KEY

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
AROUND = """\
daemon off;
pid nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    include chatbot.conf;
}}
"""


@dataclass(frozen=True, kw_only=True)
class Front:
    """A running nginx. `client` sends the API key and trusts the certificate."""

    url: str
    plain_url: str
    trust: ssl.SSLContext
    trust_file: Path
    client: httpx.AsyncClient
    log: Path


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def shipped_with(changes: dict[str, str]) -> str:
    """The shipped file with the changes that its reader has to make."""
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def write_files(folder: Path, replicas: tuple[str, ...], plain: int, tls: int) -> None:
    replica = "server {} max_fails=1 fail_timeout=5s;"
    addresses = [replica.format(url.removeprefix("http://")) for url in replicas]
    changes = {
        f"    {replica.format('127.0.0.1:8000')}  # here": "\n".join(addresses),
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{tls} ssl http2;",
        "/etc/nginx/tls/chatbot.crt": f"{folder}/server.pem",
        "/etc/nginx/tls/chatbot.key": f"{folder}/server.pem",
        "/var/log/nginx/chatbot.log": f"{folder}/access.log",
    }
    (folder / "chatbot.conf").write_text(shipped_with(changes), encoding="utf-8")
    user = "user root;" if sys.platform != "win32" and os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(user=user), encoding="utf-8")


@asynccontextmanager
async def nginx(folder: Path, *replicas: str) -> AsyncGenerator[Front]:
    """Serve these addresses until the end of the block."""
    folder = folder / "nginx"
    folder.mkdir()
    company = Authority(folder)
    company.server("localhost", "127.0.0.1")
    plain, tls = free_ports(2)
    write_files(folder, replicas, plain, tls)
    process = await asyncio.create_subprocess_exec(
        program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"
    )
    try:
        await _until_it_listens(process, tls)
        trust = ssl.create_default_context(cafile=company.file)
        url = f"https://127.0.0.1:{tls}"
        async with httpx.AsyncClient(
            base_url=url,
            headers={"X-API-Key": API_KEY},
            verify=trust,
            timeout=STARTS_WITHIN_S,
            trust_env=False,
        ) as client:
            yield Front(
                url=url,
                plain_url=f"http://127.0.0.1:{plain}",
                trust=trust,
                trust_file=company.file,
                client=client,
                log=folder / "access.log",
            )
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_it_listens(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while True:
            assert process.returncode is None, "nginx ended; its words are above"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
