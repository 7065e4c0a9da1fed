"""A headless Chromium, driven over its DevTools protocol; it can reach only this machine.

async with chromium(tmp_path) as page:
    await page.open("http://127.0.0.1:8000/docs")
    await page.click("button.authorize")
"""

import asyncio
import base64
import itertools
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from programs import program

PATIENCE_S = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium has none for root; it sees nothing but our own pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--log-level=3",  # its stderr is read up to the address only
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)

WATCH = """new Promise((done) => {
  const look = () => {
    const found = CONDITION;
    if (found) { watching.disconnect(); done(found); }
  };
  const watching = new MutationObserver(look);
  watching.observe(document, {
    attributes: true, characterData: true, childList: true, subtree: true
  });
  look();
})"""


class Page:
    """A tab. `requests` are the URLs it requested, `complaints` its console messages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def listen(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame.data)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":  # breaches of the Content-Security-Policy among them
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))

    async def do(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method of the protocol: https://chromedevtools.github.io/devtools-protocol/"""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(
            message if self.session is None else message | {"sessionId": self.session}
        )
        async with asyncio.timeout(PATIENCE_S):
            found = await answer
        assert "error" not in found, found
        result: dict[str, Any] = found["result"]
        return result

    async def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.do("Emulation.setDeviceMetricsOverride", **size)
        await self.do("Page.navigate", url=url)

    async def prefer(self, scheme: str) -> None:
        """Let the system prefer `light` or `dark` colours."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.do("Emulation.setEmulatedMedia", features=[feature])

    async def run(self, script: str) -> Any:
        """The value of an expression; promises are awaited."""
        found = await self.do(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as a change of the page makes it truthy."""
        return await self.run(WATCH.replace("CONDITION", script))

    async def click(self, selector: str) -> None:
        element = f"document.querySelector({json.dumps(selector)})"
        await self.wait_for(f"{element} && ({element}.click(), true)")

    async def type(self, selector: str, text: str) -> None:
        element = f"document.querySelector({json.dumps(selector)})"
        await self.wait_for(f"{element} && ({element}.focus(), {element}.select(), true)")
        await self.do("Input.insertText", text=text)

    async def choose(self, selector: str, value: str) -> None:
        """Select an option of a list."""
        element = f"document.querySelector({json.dumps(selector)})"
        change = "new Event('change', {bubbles: true})"
        await self.wait_for(
            f"{element} && ({element}.value = {json.dumps(value)}, {element}.dispatchEvent({change}))"
        )

    async def text(self, selector: str) -> str:
        """The text of the first matching element, once one has text."""
        element = f"document.querySelector({json.dumps(selector)})"
        return str(await self.wait_for(f"{element} && {element}.innerText"))

    async def screenshot(self, file: Path) -> None:
        shot = await self.do("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(shot["data"]))


def chromium_program() -> str:
    return program("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@asynccontextmanager
async def chromium(folder: Path) -> AsyncGenerator[Page]:
    """Run a Chromium with a profile of its own in `folder`; yield its one page."""
    process = await asyncio.create_subprocess_exec(
        chromium_program(),
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(await _address(process), max_msg_size=0) as socket,
        ):
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            try:
                targets = (await page.do("Target.getTargets"))["targetInfos"]
                target = next(one["targetId"] for one in targets if one["type"] == "page")
                attached = await page.do("Target.attachToTarget", targetId=target, flatten=True)
                page.session = attached["sessionId"]
                for domain in ("Page", "Network", "Log", "Runtime"):
                    await page.do(f"{domain}.enable")
                yield page
            finally:
                listening.cancel()
                await asyncio.wait({listening})
    finally:
        process.kill()
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    """The address that Chromium prints to stderr when it listens."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stderr:
            if line.startswith(b"DevTools listening on "):
                return line.split()[-1].decode()
    raise AssertionError("Chromium ended before it listened.")
