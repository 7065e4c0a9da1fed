"""What answers keep of the documents that they cite: references, never texts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from canaries import files_with
from chatbot.entrypoints.commands.store import make_store
from document_calls import Library, serving_documents
from service import settings_for_tests

SECRET = "canary-quote-7c41"
TEXT = f"# Umbrellas\n\nEverybody gets an umbrella {SECRET}."
QUESTION = "Who gets an umbrella?"


async def asked(library: Library, who: str) -> dict[str, Any]:
    answer = await library.call(who, "POST", "/chat", json={"prompt": QUESTION})
    return dict(answer.raise_for_status().json())


async def shown(library: Library, who: str, session_id: str) -> list[dict[str, Any]]:
    answer = await library.call(who, "GET", f"/sessions/{session_id}")
    return list(answer.json()["messages"][-1].get("citations", []))


@pytest.mark.parametrize("url", ["json:data", "sqlite:///chatbot.db"])
@pytest.mark.parametrize("ending", ["delete", "erase"])
async def test_no_text_of_a_cited_document_stays_once_it_is_deleted_or_its_owner_erased(
    url: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(make_store, settings_for_tests(storage_url=url))
    async with serving_documents(answer="See [1].", storage_url=url) as library:
        rule = {"users": [library.ids["ana"]]}
        document_id = await library.ready("eva", TEXT, title=SECRET, access=rule)
        answer = await asked(library, "ana")
        assert SECRET in answer["citations"][0]["quote"]
        assert await shown(library, "ana", answer["session_id"]) == answer["citations"]
        if ending == "erase":
            for person in ("ana", "eva"):
                path = f"/admin/users/{library.ids[person]}"
                (await library.call("admin", "DELETE", path)).raise_for_status()
        else:
            path = f"/documents/{document_id}"
            (await library.call("admin", "DELETE", path)).raise_for_status()
            assert await shown(library, "ana", answer["session_id"]) == []
        assert files_with(SECRET, tmp_path) == []


async def test_quote_of_an_old_answer_is_that_of_the_version_that_it_cites() -> None:
    async with serving_documents(answer="See [1].") as library:
        document_id = await library.ready("ana", TEXT, title="One", access={"public": True})
        answer = await asked(library, "ben")
        new = {"text": "Umbrellas are gone.", "media_type": "text/markdown"}
        await library.call("ana", "PUT", f"/documents/{document_id}/content", json=new)
        await library.settled("ana", document_id)
        await library.call("ana", "PATCH", f"/documents/{document_id}", json={"title": "Two"})
        [citation] = await shown(library, "ben", answer["session_id"])
        [before] = answer["citations"]
        assert citation == {**before, "title": "Two"}
        assert SECRET in citation["quote"]


async def test_answer_of_before_loses_its_citation_when_the_access_ends() -> None:
    async with serving_documents(answer="See [1].") as library:
        document_id = await library.ready("ana", TEXT, access={"public": True})
        answer = await asked(library, "ben")
        assert [each["document_id"] for each in answer["citations"]] == [document_id]
        path = f"/documents/{document_id}"
        (await library.call("ana", "PATCH", path, json={"access": {}})).raise_for_status()
        assert await shown(library, "ben", answer["session_id"]) == []
