"""Over HTTP: after "forget everything" nothing of the items, and after an erasure nothing of the person,
is in the database, neither as text nor as bytes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from canaries import files_with, rows_with
from chatbot.entrypoints.commands.store import make_store
from document_calls import Library, serving_documents
from service import settings_for_tests

ITEM, PAPER, SAID = "canary-item-5d1e", "canary-paper-5d1e", "canary-said-5d1e"
Left = Callable[[str], list[Any]]


@pytest.fixture(params=["sqlite", "postgres"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[Library, Left]]:
    """A service with this store, and what finds a marker in it."""
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        url = "sqlite:///chatbot.db"
        await asyncio.to_thread(make_store, settings_for_tests(storage_url=url))
    else:
        url = request.getfixturevalue("postgres_store")

    def left(marker: str) -> list[Any]:
        if request.param == "sqlite":
            return list(files_with(marker, tmp_path))
        return rows_with(marker, url) + rows_with(marker.encode().hex(), url)

    async with serving_documents(answer="See [1].", storage_url=url) as library:
        yield library, left


async def ok(library: Library, who: str, method: str, path: str, **given: Any) -> Any:
    answer = await library.call(who, method, path, **given)
    assert answer.is_success, answer.text
    return answer.json()


async def remember(library: Library, who: str) -> str:
    """Items in all states, with earlier versions; returns a session that has used them."""
    item: dict[str, Any] = {}
    for number in range(3):
        body = {"kind": "fact", "text": f"Likes {ITEM} {number}"}
        item = await ok(library, who, "POST", "/me/memory", json=body)
    path = f"/me/memory/{item['id']}"
    await ok(library, who, "PATCH", path, json={"text": f"Loves {ITEM}"})
    await ok(library, who, "PATCH", path, json={"state": "done"})
    body = {"kind": "profile", "key": f"key {ITEM}", "text": ITEM}
    await ok(library, who, "POST", "/me/memory", json=body)
    return str((await ok(library, who, "POST", "/chat", json={"prompt": "Hi"}))["session_id"])


async def test_nothing_of_the_items_is_left_after_everything_was_forgotten(
    store: tuple[Library, Left],
) -> None:
    library, left = store
    session_id = await remember(library, "ana")
    assert left(ITEM)
    body = {"confirm": "forget everything"}
    await ok(library, "ana", "DELETE", "/me/memory", json=body)
    assert left(ITEM) == []
    shown = await library.call("ana", "GET", f"/sessions/{session_id}/memory")
    assert ITEM not in shown.text
    export = await library.call("ana", "GET", "/me/export")
    assert ITEM.encode() not in export.content


async def test_nothing_of_a_person_is_left_after_an_erasure(store: tuple[Library, Left]) -> None:
    library, left = store
    await remember(library, "ana")
    rule = {"users": [library.ids["ben"]]}
    for access in ({}, rule):
        document_id = await library.ready(
            "ana",
            f"# {PAPER}\n\nEverybody gets an umbrella {PAPER} {len(access)}.",
            title=PAPER,
            name=f"{PAPER}.md",
            access=access,
            labels=PAPER,
        )
        new = {"text": f"Umbrellas {PAPER} are gone.", "media_type": "text/markdown"}
        await ok(library, "ana", "PUT", f"/documents/{document_id}/content", json=new)
        await library.settled("ana", document_id)
    for who in ("ana", "ben"):
        body = {"prompt": "Who gets an umbrella?"}
        assert (await ok(library, who, "POST", "/chat", json=body))["citations"]
    session = await ok(library, "ana", "POST", "/chat", json={"prompt": f"I am {SAID}"})
    await ok(library, "ana", "PATCH", f"/sessions/{session['session_id']}", json={"title": SAID})
    summary = {"summary": SAID}
    await ok(library, "ana", "PUT", f"/sessions/{session['session_id']}/summary", json=summary)
    await ok(library, "ana", "POST", "/me/memory/search", json={"query": SAID})
    assert all(left(each) for each in (ITEM, PAPER, SAID))
    for who in ("ana", "ben"):  # with the last reader, the shared document goes, too
        await ok(library, "admin", "DELETE", f"/admin/users/{library.ids[who]}")
    assert {each: left(each) for each in (ITEM, PAPER, SAID)} == {ITEM: [], PAPER: [], SAID: []}
    assert left(library.ids["ana"]) == left_audit(left, library.ids["ana"])


def left_audit(left: Left, user_id: str) -> list[Any]:
    """The audit keeps the random id, and an erasure is kept for a day."""
    found = left(user_id)
    allowed = {"erasures", "journal_entries", "chatbot.db", "chatbot.db-wal"}
    return [each for each in found if getattr(each, "name", each) in allowed]
