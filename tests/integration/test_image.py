"""The container image: its steps run in an empty folder, and the result run confined."""
# ruff: noqa: ASYNC110, ASYNC221, ASYNC240 - a test may block a loop that is its own

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from image import DATA, IS_ROOT, PROGRAM, ROOT, Image, build, instructions, sent_to_the_build
from nginx import free_ports
from process import STARTS_WITHIN_S, STOPS_WITHIN_S
from service import API_KEY, JWT_SECRET

if sys.platform != "linux":
    pytest.skip("the image is one of Linux", allow_module_level=True)


def test_build_context_contains_only_the_copied_files() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copies = (words.split()[:-1] for name, words in instructions(text) if name == "COPY")
    copied = [source for sources in copies for source in sources if "--from" not in sources[0]]
    assert sorted(copied) == sorted(set(sent_to_the_build()))


@asynccontextmanager
async def started(image: Image, port: int, secrets: Path) -> AsyncGenerator[None]:
    """The service as the container starts it; it must stop gracefully."""
    secrets.mkdir()
    for name, value in (("api_key", API_KEY), ("jwt_secret", JWT_SECRET)):
        (secrets / name).write_text(f"{value}\n", encoding="utf-8")
    files = {f"{name.upper()}_FILE": str(secrets / name) for name in ("api_key", "jwt_secret")}
    process = await asyncio.create_subprocess_exec(
        *image.confined(),
        *image.commands["ENTRYPOINT"],
        *image.commands["CMD"],
        cwd=image.path("."),
        env=image.environment | files | {"PORT": str(port)},
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), STOPS_WITHIN_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def is_healthy(image: Image, port: int) -> bool:
    environment = image.environment | {"PORT": str(port)}
    command = image.commands["HEALTHCHECK"]
    return (
        subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    )


def packages(image: Image) -> set[str]:
    return {path.name for path in image.path(PROGRAM).glob("lib/python*/site-packages/*")}


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="installs over the network: CI does")
async def test_image_runs_as_a_user_who_can_write_only_the_volume(
    tmp_path: Path,
) -> None:
    image = build(tmp_path)
    assert {"chatbot", "psycopg"} < packages(image)
    assert not {"pip", "hatchling", "setuptools", "pytest"} & packages(image)

    [port] = free_ports(1)
    async with started(image, port, tmp_path / "secrets"):
        async with asyncio.timeout(STARTS_WITHIN_S):
            while not is_healthy(image, port):
                await asyncio.sleep(0.05)
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(headers={"X-API-Key": API_KEY}, trust_env=False) as client:
            answer = await client.post(f"{url}/chat", json={"prompt": "Hello, my name is Ana."})
        assert answer.status_code == 200
        assert "Ana" in answer.json()["text"]
    assert not is_healthy(image, port)

    written = image.path(DATA) / "data" / "memory"
    assert written.stat().st_uid == (10001 if IS_ROOT else os.geteuid())
    if IS_ROOT:
        for place in (PROGRAM, "/var/lib"):
            tried = (*image.confined(), "touch", str(image.path(place) / "new"))
            assert b"Read-only" in subprocess.run(tried, capture_output=True, check=False).stderr
