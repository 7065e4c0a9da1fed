"""A complete service on a loopback port, in the event loop of the test."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from chatbot.application.api_keys import MadeKey
from chatbot.application.new_keys import NewKey
from chatbot.application.user_changes import NewUser
from chatbot.domain.authorization import of_host
from chatbot.domain.identity import User
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.extraction import Extractor
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.http.surfaces import Surface
from chatbot.entrypoints.server.uvicorn_server import Server, build_config, listen
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import settings_of

API_KEY = "e1becf496fa519e8b3af8df5340abe877b522cfe"
JWT_SECRET = "d212d237d0e766b4e0536be01914dd4cf2ee21c661bdc0bb"
ADMIN_EMAIL = "ana@example.com"
SSE = {"Accept": "text/event-stream"}
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "instance"}
OF_A_FAILED_TURN = {"session_id", "turn_id"}
PASSWORD = "violet kettle drums at noon"
HOST = of_host("root")
"""The principal of commands."""


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def said_by(answer: httpx.Response, *, but: str = "") -> tuple[int, bytes, tuple[object, ...]]:
    """The whole response except its id, its time and the header `but`."""
    own = {"x-request-id", "date", but}
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in own)
    content = answer.content.replace(answer.headers["x-request-id"].encode(), b"id")
    return answer.status_code, content, tuple(headers)


async def begin(client: httpx.AsyncClient) -> str:
    """The id of a new session."""
    answer = (await client.post("/sessions/new")).raise_for_status()
    return str(answer.json()["session_id"])


async def messages_of(client: httpx.AsyncClient, session_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/sessions/{session_id}?limit=200")
    found: list[dict[str, Any]] = answer.json()["messages"]
    return found


def settings_for_tests(**given: object) -> Settings:
    """Complete settings that read neither the environment nor a provider."""
    base: dict[str, object] = {
        "api_key": API_KEY,
        "jwt_secret": JWT_SECRET,
        "storage_url": "memory:",
        "rate_limit_per_minute": 0,
    }
    return settings_of(base | given)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service. `client` sends the API key; `anonymous` sends nothing."""

    url: str
    use: UseCases
    client: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    server: Server

    async def bearer(self, email: str = ADMIN_EMAIL, password: str = PASSWORD) -> dict[str, str]:
        """The header of a logged-in user."""
        answer = await self.client.post("/auth/login", json={"email": email, "password": password})
        answer.raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def add_admin(self, email: str = ADMIN_EMAIL, password: str = PASSWORD) -> None:
        await self.use.people.create_first_admin(HOST, email, password)

    async def add_user(
        self,
        email: str,
        *roles: str,
        department: str = "sales",
        password: str | None = PASSWORD,
    ) -> User:
        """Create a user, by default an employee."""
        new = NewUser(
            email=email, roles=roles or ("employee",), department=department, password=password
        )
        return (await self.use.people.create(HOST, new)).user

    async def add_key(self, *scopes: Permission, client: str | None = None) -> MadeKey:
        """A key, of an application of its own unless one is named."""
        name = client or f"app-{secrets.token_hex(4)}"
        wanted = NewKey(client=name, scopes=frozenset(scopes or {Permission.CHAT}))
        return await self.use.api_keys.create(HOST, wanted)


@asynccontextmanager
async def serving(
    settings: Settings | None = None,
    *,
    storage: Storage | None = None,
    model: ChatModel | None = None,
    hasher: PasswordHasher | None = None,
    extractor: Extractor | None = None,
    surfaces: Sequence[Surface] = (),
) -> AsyncGenerator[Service]:
    """Serve with a real uvicorn until the end of the block, then stop gracefully.

    `surfaces` are served beside the native one.
    """
    settings = settings or settings_for_tests()
    use = build(settings, storage=storage, model=model, hasher=hasher, extractor=extractor)
    config = build_config(build_app(settings, use, more_surfaces=surfaces), settings)
    server = Server(config, use.chat)
    on_a_free_port = settings.http.model_copy(update={"port": 0})
    sock = listen(settings.model_copy(update={"http": on_a_free_port}))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    running = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.005)
        if running.done():
            running.result()
    limits = httpx.Timeout(20)
    async with (
        httpx.AsyncClient(
            base_url=url, headers={"X-API-Key": API_KEY}, timeout=limits, trust_env=False
        ) as client,
        httpx.AsyncClient(base_url=url, timeout=limits, trust_env=False) as anonymous,
    ):
        try:
            yield Service(url=url, use=use, client=client, anonymous=anonymous, server=server)
        finally:
            await client.aclose()
            await anonymous.aclose()
            server.should_exit = True
            await running
