"""An application that acts for one person tries to reach documents, memory and citations of another."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from assertions import assertion
from chatbot.adapters.llm.scripted import Script
from chatbot.application.api_keys import MadeKey
from chatbot.domain.permissions import Permission
from document_calls import Library, serving_documents
from service import SSE

SECRET = "canary-of-eva"
TEXT = f"# Umbrellas\n\nEverybody in HR gets an umbrella {SECRET}."
QUESTION = {"prompt": "Who gets an umbrella?"}
SCOPES = (
    *(Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ, Permission.ACT_FOR_USERS),
)


@dataclass(frozen=True, kw_only=True)
class Attack:
    """The service, what belongs to Eva, and a key that may act for users."""

    library: Library
    key: MadeKey
    document: str
    item: str
    session: str
    turn: str

    def signed(
        self, name: str | None, key: MadeKey | None = None, **changed: Any
    ) -> dict[str, str]:
        key = key or self.key
        if name is None:
            return {"X-API-Key": key.raw_key}
        claims = {"sub": self.library.ids[name], **changed}
        raw = assertion(key.assertion_secret, key.line.client, **claims)
        return {"X-API-Key": key.raw_key, "X-End-User": raw}

    async def call(
        self, who: str | None, method: str, path: str, key: MadeKey | None = None, **given: Any
    ) -> httpx.Response:
        headers = {**self.signed(who, key), **given.pop("headers", {})}
        client = self.library.service.anonymous
        return await client.request(method, path, headers=headers, **given)


@pytest.fixture
async def attack() -> AsyncGenerator[Attack]:
    async with serving_documents(answer="See [1].") as library:
        document = await library.ready("eva", TEXT, title=SECRET, access={"departments": ["HR"]})
        body = {"kind": "fact", "text": SECRET}
        item = (await library.call("eva", "POST", "/me/memory", json=body)).json()["id"]
        turn = (await library.call("eva", "POST", "/chat", json=QUESTION)).json()
        assert turn["citations"]
        yield Attack(
            library=library,
            key=await library.service.add_key(*SCOPES),
            document=document,
            item=item,
            session=turn["session_id"],
            turn=turn["turn_id"],
        )


async def test_nothing_of_another_person_is_reached(attack: Attack) -> None:
    document, item = f"/documents/{attack.document}", f"/me/memory/{attack.item}"
    session = f"/sessions/{attack.session}"
    calls: list[tuple[str, str, Any]] = [
        ("GET", document, None),
        ("GET", f"{document}/content", None),
        ("GET", f"{document}/content?version=1", None),
        ("PATCH", document, {"title": "x"}),
        ("PATCH", document, {"access": {"public": True}}),
        ("PUT", f"{document}/content", {"text": "x"}),
        ("DELETE", document, None),
        ("PATCH", item, {"text": "x"}),
        ("DELETE", item, None),
        ("GET", f"{item}/history", None),
        ("POST", f"{item}/restore", {"version": 1}),
        ("POST", f"{item}/confirm", None),
        ("GET", session, None),
        ("GET", f"{session}/turns/{attack.turn}/explain", None),
        ("GET", f"{session}/memory", None),
        ("GET", f"{session}/summary", None),
        ("GET", f"{session}/export", None),
        ("POST", f"{session}/reset", None),
        ("PUT", f"{session}/memory", {"structured_memory": {"facts": ["x"]}}),
        ("DELETE", session, None),
        ("POST", "/chat", {**QUESTION, "session_id": attack.session}),
    ]
    for who in ("ana", None):
        for method, path, body in calls:
            answer = await attack.call(who, method, path, json=body)
            assert answer.status_code == 404, (who, method, path)
            assert SECRET not in answer.text
    assert (await attack.library.call("eva", "GET", item + "/history")).status_code == 200


async def test_lists_searches_and_answers_for_another_person_are_without_it(attack: Attack) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/documents?limit=200", None),
        ("GET", f"/documents?query={SECRET}", None),
        ("POST", "/search", {"query": f"umbrella {SECRET}"}),
        ("POST", "/chat", QUESTION),
        ("GET", "/me/memory", None),
        ("GET", f"/me/memory?query={SECRET}", None),
        ("POST", "/me/memory/search", {"query": SECRET}),
        ("GET", "/sessions", None),
        ("GET", "/me/memory/settings", None),
    ]
    for who in ("ana", None):
        for method, path, body in calls:
            answer = await attack.call(who, method, path, json=body)
            assert answer.is_success, (who, method, path, answer.text)
            assert SECRET not in answer.text.replace(f'"query":"{SECRET}"', ""), (who, path)
    export = await attack.call("ana", "GET", "/me/export")
    assert SECRET.encode() not in export.content


async def test_forged_and_repeated_assertions_name_nobody(attack: Attack) -> None:
    other = await attack.library.service.add_key(*SCOPES)
    path = f"/documents/{attack.document}"
    good = attack.signed("eva")
    assert (await attack.library.service.anonymous.get(path, headers=good)).status_code == 200
    eva = attack.library.ids["eva"]
    of_other = {**attack.signed("eva", other), "X-API-Key": attack.key.raw_key}
    foreign = assertion(attack.key.assertion_secret, other.line.client, sub=eva)
    forged: list[Any] = [
        good,
        of_other,
        {"X-API-Key": attack.key.raw_key, "X-End-User": foreign},
        {"X-API-Key": attack.key.raw_key, "X-End-User": eva},
        {"X-API-Key": attack.key.raw_key, "X-End-User": "e30.e30."},
        attack.signed("eva", email="ana@example.com"),
        attack.signed("eva", exp=1),
        [*attack.signed("ana").items(), ("X-End-User", attack.signed("eva")["X-End-User"])],
        {**attack.signed("ana"), **attack.library.headers["eva"]},
    ]
    for headers in forged:
        answer = await attack.library.service.anonymous.get(path, headers=headers)
        assert answer.status_code in {400, 401}, (headers, answer.text)
    ignored = await attack.call("ana", "GET", f"{path}?X-End-User={good['X-End-User']}")
    assert ignored.status_code in {404, 422}


async def test_key_limits_what_is_reached_for_a_person(attack: Attack) -> None:
    chats = await attack.library.service.add_key(Permission.CHAT, Permission.ACT_FOR_USERS)
    for method, path, body in (
        ("GET", f"/documents/{attack.document}", None),
        ("POST", "/search", {"query": "umbrella"}),
        ("GET", "/me/export", None),
        ("DELETE", f"/me/memory/{attack.item}", None),
    ):
        answer = await attack.call("eva", method, path, chats, json=body)
        assert answer.status_code in {403, 200}, (path, answer.text)
        assert SECRET not in answer.text, path
    again = await attack.call("eva", "GET", f"/sessions/{attack.session}", chats)
    assert again.json()["messages"][-1].get("citations", []) == []
    assert (await attack.call("eva", "POST", "/chat", chats, json=QUESTION)).json()[
        "citations"
    ] == []


async def test_export_for_a_person_needs_a_key_that_may_read_what_it_contains(
    attack: Attack,
) -> None:
    add = attack.library.service.add_key
    keys = {
        "none": await add(Permission.METRICS, Permission.ACT_FOR_USERS),
        "chat": await add(Permission.CHAT, Permission.ACT_FOR_USERS),
        "both": await add(Permission.CHAT, Permission.DOCUMENTS_READ, Permission.ACT_FOR_USERS),
    }
    got = {
        (who, name): (await attack.call(who, "GET", "/me/export", key)).status_code
        for who in ("eva", "ben")
        for name, key in keys.items()
    }
    assert got == {
        ("eva", "none"): 403,
        ("eva", "chat"): 403,
        ("eva", "both"): 200,
        ("ben", "none"): 403,
        ("ben", "chat"): 200,
        ("ben", "both"): 200,
    }
    whole = await attack.call("eva", "GET", "/me/export", keys["both"])
    assert SECRET in zipfile.ZipFile(io.BytesIO(whole.content)).read("items.json").decode()


async def test_rights_of_a_manager_do_not_exceed_those_of_the_key(attack: Attack) -> None:
    manages = await attack.library.service.add_key(*SCOPES, Permission.DOCUMENTS_MANAGE)
    path = f"/documents/{attack.document}"
    assert (await attack.call("admin", "GET", path, manages)).status_code == 200
    assert (await attack.call("admin", "GET", path)).status_code == 404


async def test_document_uploaded_for_a_person_is_theirs_alone(attack: Attack) -> None:
    body = {"title": "Mine", "text": "Anas own umbrella."}
    made = await attack.call("ana", "POST", "/documents", json=body)
    path = f"/documents/{made.json()['document']['id']}"
    assert (await attack.library.call("ana", "GET", path)).status_code == 200
    for who in (None, "ben"):
        assert (await attack.call(who, "GET", path)).status_code == 404


async def test_access_that_ends_during_a_stream_holds_from_the_next_request() -> None:
    going_on = asyncio.Event()
    script = Script(pieces=("See [1]. ",), pause=going_on.wait)
    async with serving_documents(answer=lambda _: script) as library:
        document = await library.ready("eva", TEXT, access={"users": [library.ids["ben"]]})
        key = await library.service.add_key(*SCOPES)
        attack = Attack(library=library, key=key, document=document, item="", session="", turn="")
        headers = {**attack.signed("ben"), **SSE}
        async with library.service.anonymous.stream(
            "POST", "/chat", json=QUESTION, headers=headers
        ) as stream:
            lines = stream.aiter_lines()
            found = ""
            while "See" not in found:
                found = await anext(lines)
            path = f"/documents/{document}"
            (await library.call("eva", "PATCH", path, json={"access": {}})).raise_for_status()
            going_on.set()
            rest = [line async for line in lines]
        done = next(line for line in rest if '"finish_reason"' in line)
        session_id = json.loads(done.removeprefix("data: "))["session_id"]
        shown = await attack.call("ben", "GET", f"/sessions/{session_id}")
        assert shown.json()["messages"][-1].get("citations", []) == []
        assert (await attack.call("ben", "POST", "/search", json={"query": "umbrella"})).json() == {
            "passages": []
        }
