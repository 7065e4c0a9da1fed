"""How many functions one `POST /chat` on JSON files calls, and how often file and folder change.

The turn goes through the ASGI application, with a scripted model and without memory. Counted are
the calls of functions in `adapters`, `application`, `domain` and `entrypoints`, in the order in
which they begin; a coroutine or generator that is resumed counts as a call. The second row has
those of the store only.
"""

import asyncio
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path
from types import FrameType

import httpx
from harness import JWT_SECRET, KEY, MEMORY_OFF

import chatbot
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.settings.loading import settings_of

SRC = str(Path(chatbot.__file__).parent)
STORE = ("/adapters/filesystem/", "/adapters/storage/")


class Calls:
    """Records the calls while it is enabled, in all threads that start later."""

    def __init__(self) -> None:
        self.is_enabled = False
        self.files: list[str] = []
        threading.setprofile(self)
        sys.setprofile(self)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if self.is_enabled and event == "call" and file.startswith(SRC):
            self.files.append(file.removeprefix(SRC))


def row(what: str, files: list[str]) -> str:
    folders = [file.rpartition("/")[0] for file in files]
    counts = (len(files), changes(files), len(set(files)), changes(folders), len(set(folders)))
    return f"| {what} | {' | '.join(map(str, counts))} |"


def changes(places: list[str]) -> int:
    return sum(one != other for one, other in pairwise(places))


async def main() -> None:
    calls = Calls()
    with tempfile.TemporaryDirectory() as folder:
        memory_off = {name.lower(): value for name, value in MEMORY_OFF.items()}
        keys = {"api_key": KEY, "jwt_secret": JWT_SECRET}
        settings = settings_of({**keys, "storage_url": f"json:{folder}", **memory_off})
        app = build_app(settings, build(settings, model=ScriptedModel(lambda _: "An answer.")))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://bench") as client,
        ):
            client.headers["X-API-Key"] = KEY
            body = {"prompt": "What is still open?"}
            body["session_id"] = (await client.post("/chat", json=body)).json()["session_id"]
            for _ in range(3):  # caches fill
                calls.files.clear()
                calls.is_enabled = True
                answer = await client.post("/chat", json=body)
                calls.is_enabled = False
                answer.raise_for_status()
    print(
        "| one turn | calls | changes of file | files | changes of folder | folders |\n|---|---|---|---|---|---|"
    )
    print(row("whole", calls.files))
    print(row("in the store", [file for file in calls.files if file.startswith(STORE)]))


if __name__ == "__main__":
    asyncio.run(main())
