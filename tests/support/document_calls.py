"""Calls about documents over HTTP, and a service whose extractor needs no process."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from chatbot.adapters.llm.scripted import Answer, ScriptedModel
from chatbot.domain.ports.extraction import Extractor
from chatbot.domain.ports.model import ModelRequest
from plain_extractor import PlainExtractor
from service import Service, serving, settings_for_tests
from staff import InstantHasher

Headers = Mapping[str, str]
Json = dict[str, Any]
PEOPLE = {
    "admin": ("admin@example.com", ("admin", "employee"), "Board"),
    "ana": ("ana@example.com", ("employee",), "Sales"),
    "ben": ("ben@example.com", ("employee",), "Sales"),
    "eva": ("eva@example.com", ("employee",), "HR"),
    "lead": ("lead@example.com", ("department_admin", "employee"), "Sales"),
}


@asynccontextmanager
async def serving_documents(
    extractor: Extractor | None = None,
    answer: str | Callable[[ModelRequest], Answer] = "Of course.",
    **given: object,
) -> AsyncGenerator["Library"]:
    """Serve a company with some people who may read documents; each answer is the same, or made."""
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0, **given)
    model = ScriptedModel((lambda _: answer) if isinstance(answer, str) else answer)
    async with serving(
        settings, model=model, hasher=InstantHasher(), extractor=extractor or PlainExtractor()
    ) as service:
        library = Library(service)
        for name, (email, roles, department) in PEOPLE.items():
            user = await service.add_user(email, *roles, department=department)
            library.ids[name] = user.id
            library.headers[name] = await service.bearer(email)
        yield library


class Library:
    """The service and the people who call it; `app` is the application itself."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ids: dict[str, str] = {}
        self.headers: dict[str, dict[str, str]] = {"app": {}}

    async def call(self, who: str, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {**self.headers[who], **given.pop("headers", {})}
        return await self.service.client.request(method, path, headers=headers, **given)

    async def upload(
        self,
        who: str,
        text: str | bytes,
        *,
        name: str = "a.md",
        query: str = "",
        **fields: Any,
    ) -> httpx.Response:
        """Send a form with a file; `access` as JSON."""
        if "access" in fields:
            fields["access"] = json.dumps(fields["access"])
        raw = text.encode() if isinstance(text, str) else text
        files = {"file": (name, raw, "text/markdown")}
        return await self.call(who, "POST", f"/documents{query}", data=fields, files=files)

    async def ready(self, who: str, text: str, **fields: Any) -> str:
        """Upload a document, and return its id once it can be searched."""
        answer = (await self.upload(who, text, **fields)).raise_for_status()
        document_id: str = answer.json()["document"]["id"]
        found = await self.settled(who, document_id)
        assert found["status"] == "ready", found
        return document_id

    async def settled(self, who: str, document_id: str) -> Json:
        """The document once it is neither queued nor being processed."""
        for _ in range(500):
            found = (await self.call(who, "GET", f"/documents/{document_id}")).json()["document"]
            if found["status"] in {"ready", "failed"}:
                return dict(found)
            await asyncio.sleep(0.01)
        raise AssertionError("The document was not worked on.")

    async def search(self, who: str, query: str, **given: Any) -> list[Json]:
        answer = await self.call(who, "POST", "/search", json={"query": query, **given})
        found: list[Json] = answer.raise_for_status().json()["passages"]
        return found

    async def titles(self, who: str, query: str = "") -> list[str]:
        answer = (await self.call(who, "GET", f"/documents{query}")).raise_for_status()
        return [each["title"] for each in answer.json()["documents"]]
