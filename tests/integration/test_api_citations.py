"""Answers with citations over HTTP and in the terminal, by the embedded model, on several stores."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.domain.documents import Access
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.commands.store import make_store
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.settings import Settings
from commands import Run
from service import SSE, Service, serving, settings_for_tests
from stored_documents import put_document, set_access

PASSAGE = "Employees get 23 working days of holidays a year. They are requested in the portal."
QUESTION = "How many days of holidays do employees get?"
UPLOADER = Owner(kind="user", id="1" * 32)
ANSWER = "Employees get 23 working days of holidays a year [1]."


@pytest.fixture(params=["memory:", "json:data", "sqlite:///chatbot.db"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.chdir(tmp_path)
    settings = settings_for_tests(storage_url=request.param, genkit_model="local/extractive")
    if request.param != "memory:":
        make_store(settings)
    return settings


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings) as running:
        yield running


async def add_document(storage: Storage, access: Access = Access(public=True)) -> Any:  # noqa: B008 # frozen
    return await storage.transact(
        lambda tx: put_document(tx, "Holidays", [PASSAGE], uploader=UPLOADER, access=access)
    )


def events_of(text: str) -> list[tuple[str, Any]]:
    frames = [frame.split("\n") for frame in text.split("\n\n") if frame.startswith("event: ")]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data, *_ in frames
    ]


async def test_streamed_answer_cites_the_passage_when_its_mark_is_complete(
    service: Service,
) -> None:
    document = await add_document(service.use.storage)
    answer = await service.client.post("/chat", json={"prompt": QUESTION}, headers=SSE)
    events = events_of(answer.text)
    names = [name for name, _ in events]
    cited = names.index("citation")
    before = "".join(data["text"] for name, data in events[:cited] if name == "delta")
    assert before.endswith("23 working days of holidays a year [1]")
    citation, done = events[cited][1], events[-1][1]
    assert (citation["document_id"], citation["title"]) == (document.id, "Holidays")
    assert PASSAGE[citation["start"] : citation["end"]] == citation["quote"]
    assert done["citations"] == [citation]
    assert ANSWER in done["text"]


async def test_citation_is_shown_again_until_the_document_is_closed(service: Service) -> None:
    document = await add_document(service.use.storage)
    body = (await service.client.post("/chat", json={"prompt": QUESTION})).json()
    path = f"/sessions/{body['session_id']}"

    async def shown() -> object:
        return (await service.client.get(path)).json()["messages"][-1].get("citations", [])

    assert await shown() == body["citations"] != []
    explain = f"{path}/turns/{body['turn_id']}/explain"
    parts = (await service.client.get(explain)).json()["parts"]
    assert [each["text"] for each in parts if each["kind"] == "passage"] == [PASSAGE]
    await service.use.storage.transact(lambda tx: set_access(tx, document, Access()))
    assert await shown() == []
    parts = (await service.client.get(explain)).json()["parts"]
    assert [each for each in parts if each["kind"] == "passage"] == []


@pytest.mark.parametrize(
    ("documents", "is_cited"),
    [({}, True), ({"labels": ["other"]}, False), ({"off": True}, False)],
)
async def test_request_says_which_documents_are_used(
    service: Service, documents: dict[str, object], is_cited: bool
) -> None:
    await add_document(service.use.storage)
    body = {"prompt": QUESTION, "documents": documents}
    answer = (await service.client.post("/chat", json=body)).json()
    assert bool(answer["citations"]) == is_cited
    assert ("[1]" in answer["text"]) == is_cited


async def test_answer_is_the_same_with_and_without_a_document_of_others(service: Service) -> None:
    async def asked() -> dict[str, Any]:
        answer = (await service.client.post("/chat", json={"prompt": QUESTION})).json()
        for name in ("session_id", "turn_id"):
            del answer[name]
        return dict(answer)

    await service.client.put("/me/memory/settings", json=_NOTHING)
    without = await asked()
    await add_document(service.use.storage, Access(users=("2" * 32,)))
    assert await asked() == without


_NOTHING = {"enabled": False, "cross_session": False, "extract": False}


@pytest.mark.parametrize("labels", [[""], ["x" * 51], [1], "hr", [f"{n}" for n in range(21)]])
async def test_invalid_labels_are_rejected(labels: object) -> None:
    async with serving() as service:
        body = {"prompt": QUESTION, "documents": {"labels": labels}}
        answer = await service.client.post("/chat", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_terminal_shows_where_an_answer_comes_from(ready: Run) -> None:
    async def add() -> None:
        async with build_storage(settings_for_tests(storage_url="json:data")) as storage:
            await add_document(storage)

    asyncio.run(add())
    code, out, _ = ready("chat", QUESTION)
    assert code == 0
    assert out.startswith(ANSWER)
    assert "\n[1] Holidays: Rules\n" in out
