"""Titles of sessions, the search in them, and a conversation as JSON, over HTTP."""

import json
from collections.abc import AsyncGenerator

import httpx
import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.application import transcripts
from service import Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    settings = settings_for_tests(
        mem_structured_enable=False,
        mem_summarize_threshold=0,
        cors_allow_origins="https://intranet.example.com",
    )
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        yield service


async def talk(service: Service, *prompts: str) -> str:
    """A session in which these prompts were answered."""
    answer = await service.client.post("/sessions/new")
    session_id = str(answer.raise_for_status().json()["session_id"])
    for prompt in prompts:
        body = {"prompt": prompt, "session_id": session_id}
        (await service.client.post("/chat", json=body)).raise_for_status()
    return session_id


async def title_of(service: Service, session_id: str) -> str:
    answer = await service.client.get(f"/sessions/{session_id}")
    return str(answer.raise_for_status().json()["title"])


async def test_title_is_changed_and_kept_by_the_next_prompts(shared: Service) -> None:
    session_id = await talk(shared, "Hello")
    path = f"/sessions/{session_id}"
    answer = await shared.client.patch(path, json={"title": "  Calls to \u202emake "})
    assert answer.status_code == 200
    assert answer.json()["title"] == "Calls to make"
    assert answer.json()["message_count"] == 2
    await shared.client.post("/chat", json={"prompt": "More", "session_id": session_id})
    assert await title_of(shared, session_id) == "Calls to make"
    listed = (await shared.client.get("/sessions", params={"limit": 1})).json()["sessions"]
    assert [line["title"] for line in listed] == ["Calls to make"]


async def test_new_session_has_the_title_that_is_given(shared: Service) -> None:
    answer = await shared.client.post("/sessions/new", json={"title": "Given"})
    assert answer.status_code == 201
    assert await title_of(shared, answer.json()["session_id"]) == "Given"


@pytest.mark.parametrize("title", ["", "\u200b", "a\nb", "x" * 201, None, 7])
async def test_invalid_title_is_refused_and_changes_nothing(shared: Service, title: object) -> None:
    session_id = await talk(shared, "Hello")
    answer = await shared.client.patch(f"/sessions/{session_id}", json={"title": title})
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["body", "title"]
    assert await title_of(shared, session_id) == "Hello"
    if title is not None:
        new = await shared.client.post("/sessions/new", json={"title": title})
        assert code_of(new) == (422, "invalid_request")


async def test_sessions_are_found_by_title_whatever_the_case(shared: Service) -> None:
    found = [await talk(shared, f"Straße {number}") for number in range(3)]
    await talk(shared, "Something else")
    page = (await shared.client.get("/sessions?limit=2&query=STRASSE")).json()
    assert [line["session_id"] for line in page["sessions"]] == [found[2], found[1]]
    after = {"limit": "2", "query": "strasse", "after": page["next"]}
    rest = (await shared.client.get("/sessions", params=after)).json()
    assert [line["session_id"] for line in rest["sessions"]] == [found[0]]
    assert rest["next"] is None
    too_long = await shared.client.get("/sessions", params={"query": "x" * 201})
    assert code_of(too_long) == (422, "invalid_request")


async def test_message_count_is_that_of_all_messages_since_the_reset(shared: Service) -> None:
    session_id = await talk(shared, "One", "Two", "Three")
    path = f"/sessions/{session_id}"
    page = (await shared.client.get(path, params={"limit": 2})).json()
    assert (page["message_count"], len(page["messages"])) == (6, 2)
    assert (await shared.client.post(f"{path}/reset")).json()["message_count"] == 0
    assert (await shared.client.get(path)).json()["message_count"] == 0


async def test_export_as_json_has_all_messages_and_the_fields_of_the_session(
    shared: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "EXPORTED_AT_ONCE", 2)
    session_id = await talk(shared, 'One "é"', "Two", "Three")
    answer = await exported(shared, session_id, "application/json")
    assert answer.headers["content-type"] == "application/json"
    found = json.loads(answer.content)
    assert [message["seq"] for message in found["messages"]] == [1, 2, 3, 4, 5, 6]
    page = await shared.client.get(f"/sessions/{session_id}")
    assert found == page.json()


async def test_export_of_an_empty_session_is_json_too(shared: Service) -> None:
    answer = await exported(shared, await talk(shared), "application/json;q=1, text/*;q=0.5")
    assert json.loads(answer.content)["messages"] == []


@pytest.mark.parametrize("accept", ["text/html", "application/pdf", "text/markdown;q=0"])
async def test_export_in_another_format_is_not_acceptable(shared: Service, accept: str) -> None:
    answer = await exported(shared, await talk(shared, "Hello"), accept)
    assert code_of(answer) == (406, "not_acceptable")
    assert "Available: text/markdown, application/json." in answer.json()["detail"]


async def exported(service: Service, session_id: str, accept: str) -> httpx.Response:
    path, headers = f"/sessions/{session_id}/export", {"Accept": accept}
    return await service.client.get(path, headers=headers)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_preflight_allows_the_methods_of_the_api(shared: Service, method: str) -> None:
    asking = {
        "Origin": "https://intranet.example.com",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    answer = await shared.anonymous.options("/sessions/x", headers=asking)
    assert answer.status_code == 200
    assert method in answer.headers["access-control-allow-methods"].split(", ")
