"""/me/memory: what is remembered of the caller, and how they correct it."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.identity import Owner
from chatbot.domain.memory import MAX_VALUE_CHARS
from chatbot.domain.person_memory import ItemState, PersonMemory
from conversation import by_task
from person_memories import said, with_new
from service import Service, serving, settings_for_tests

Json = dict[str, Any]
PATH = "/me/memory"
CLIENT = Owner(kind="client", id="default")
ROLE = {"kind": "profile", "key": "role", "text": "nurse"}
TEA = {"kind": "fact", "text": "Likes tea"}


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    async with serving(settings_for_tests(), model=ScriptedModel(by_task())) as found:
        yield found


async def call(
    service: Service, method: str, path: str = "", body: Json | None = None, *, seen: str = ""
) -> Json:
    headers = {"If-Match": seen} if seen else {}
    answer = await service.client.request(method, f"{PATH}{path}", json=body, headers=headers)
    return dict(answer.raise_for_status().json())


async def refused(
    service: Service, method: str, path: str = "", body: Json | None = None, *, seen: str = ""
) -> tuple[int, str]:
    headers = {"If-Match": seen} if seen else {}
    answer = await service.client.request(method, f"{PATH}{path}", json=body, headers=headers)
    return answer.status_code, answer.json()["code"]


async def texts(service: Service, **query: str) -> list[str]:
    answer = await service.client.get(PATH, params=query)
    return [item["text"] for item in answer.raise_for_status().json()["items"]]


async def waiting(service: Service, text: str) -> str:
    """The id of a pending item."""

    def stored(known: PersonMemory) -> PersonMemory:
        return with_new(said(text, state=ItemState.PENDING), memory=known)

    memory = await service.use.storage.transact(
        lambda tx: tx.person_memories.change(CLIENT, stored)
    )
    return memory.items[-1].id


async def test_item_is_added_read_corrected_and_forgotten(service: Service) -> None:
    answer = await service.client.post(PATH, json=TEA)
    item = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert (item["state"], item["origin"], item["sources"]) == ("active", "edited", [])
    assert "key" not in item
    changed = await call(service, "PATCH", f"/{item['id']}", {"text": "Likes coffee"})
    assert (changed["text"], changed["version"]) == ("Likes coffee", 2)
    done = await call(service, "PATCH", f"/{item['id']}", {"state": "done"})
    assert done["state"] == "done"
    assert await call(service, "DELETE", f"/{item['id']}") == {"forgotten": True}
    assert await call(service, "DELETE", f"/{item['id']}") == {"forgotten": True}
    assert await texts(service) == []
    assert await texts(service, state="forgotten") == [""]
    assert await refused(service, "PATCH", f"/{item['id']}", TEA | {"text": "x"}) == (
        422,
        "invalid_request",
    )
    for body in ({"text": "x"}, {}):
        assert await refused(service, "PATCH", f"/{item['id']}", body) == (409, "conflict")


async def test_new_value_of_a_key_is_a_version_that_can_be_taken_back(service: Service) -> None:
    item = await call(service, "POST", body=ROLE)
    again = await call(service, "POST", body=ROLE | {"text": "doctor"})
    assert (again["id"], again["version"]) == (item["id"], 2)
    assert await texts(service, state="superseded") == ["nurse"]
    path = f"/{item['id']}"
    assert (await call(service, "POST", f"{path}/restore", {"version": 1}))["text"] == "nurse"
    versions = (await call(service, "GET", f"{path}/history"))["versions"]
    assert [(each["version"], each["text"], each["state"]) for each in versions] == [
        (1, "nurse", "superseded"), (2, "doctor", "superseded"), (3, "nurse", "active"),
    ]  # fmt: skip
    assert await refused(service, "POST", f"{path}/restore", {"version": 9}) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("PATCH", "", {"text": "x"}),
        ("DELETE", "", None),
        ("POST", "/restore", {"version": 1}),
        ("POST", "/confirm", None),
    ],
)
async def test_change_applies_only_to_the_version_that_was_read(
    service: Service, method: str, suffix: str, body: Json | None
) -> None:
    item_id = await waiting(service, "Likes tea")
    found = await refused(service, method, f"/{item_id}{suffix}", body, seen='"2"')
    assert found == (412, "changed_meanwhile")
    if suffix == "/confirm":
        confirmed = await call(service, method, f"/{item_id}{suffix}", seen='"1"')
        assert (confirmed["state"], confirmed["origin"]) == ("active", "confirmed")


async def test_pending_item_is_listed_and_used_only_after_confirmation(service: Service) -> None:
    item_id = await waiting(service, "Likes tea")
    assert await texts(service, state="pending") == ["Likes tea"]
    assert await texts(service, state="active") == []
    await call(service, "POST", f"/{item_id}/confirm")
    assert await texts(service, state="active") == ["Likes tea"]
    assert await refused(service, "POST", f"/{item_id}/confirm") == (409, "conflict")


async def test_list_is_filtered_and_comes_in_pages_from_the_newest_on(service: Service) -> None:
    for number in range(5):
        await call(service, "POST", body=TEA | {"text": f"Likes tea {number}"})
    await call(service, "POST", body=ROLE)
    assert await texts(service, kind="profile") == ["nurse"]
    assert await texts(service, query="TEA 3") == ["Likes tea 3"]
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await service.client.get(PATH, params={"limit": 2, **after})).json()
        found += [item["text"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == ["nurse", *(f"Likes tea {number}" for number in (4, 3, 2, 1, 0))]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "profile", "text": "x"},
        {"kind": "fact", "key": "name", "text": "x"},
        {"kind": "rights", "text": "x"},
        {"kind": "fact", "text": " "},
        {"kind": "fact", "text": "x" * (MAX_VALUE_CHARS + 1)},
        {"kind": "fact", "text": "My password is hunter2"},
        {"kind": "profile", "key": "pin", "text": "4711"},
        {"kind": "fact", "text": "x", "state": "active"},
    ],
)
async def test_item_that_must_not_be_stored_is_refused(service: Service, body: Json) -> None:
    assert (await refused(service, "POST", body=body))[0] == 422
    assert await texts(service) == []


async def test_everything_is_forgotten_only_with_the_words(service: Service) -> None:
    await call(service, "POST", body=TEA)
    assert (await refused(service, "DELETE", body={"confirm": "yes"}))[0] == 422
    [missing] = (await service.client.delete("/me/memory")).json()["errors"]
    assert missing["loc"] == ["body"]
    assert missing["msg"].endswith('such as {"confirm": "forget everything"}')
    assert await texts(service) == ["Likes tea"]
    assert await call(service, "DELETE", body={"confirm": "forget everything"}) == {
        "forgotten": True
    }
    assert await texts(service) == []


async def test_memory_of_a_session_shows_what_it_has_used_of_others(service: Service) -> None:
    item = await call(service, "POST", body=ROLE)
    answer = (await service.client.post("/chat", json={"prompt": "Hi"})).json()
    assert [each["id"] for each in answer["memory_used"]] == [item["id"]]
    found = (await service.client.get(f"/sessions/{answer['session_id']}/memory")).json()
    assert [each["id"] for each in found["items"]] == [item["id"]]
    assert found["structured_memory"]["profile"]["role"] is None, "it was not taught here"
    await call(service, "DELETE", f"/{item['id']}")
    found = (await service.client.get(f"/sessions/{answer['session_id']}/memory")).json()
    assert found["items"] == []


async def test_unknown_item_is_not_found(service: Service) -> None:
    for method, path, body in (
        ("GET", "/history", None),
        ("PATCH", "", {"text": "x"}),
        ("DELETE", "", None),
        ("POST", "/restore", {"version": 1}),
        ("POST", "/confirm", None),
    ):
        assert await refused(service, method, f"/{'0' * 32}{path}", body) == (404, "not_found")


async def test_person_and_application_have_memories_of_their_own(service: Service) -> None:
    await call(service, "POST", body=TEA)
    await service.add_admin()
    headers = await service.bearer()
    own = await service.client.get(PATH, headers=headers)
    assert own.json() == {"items": [], "next": None}


class TestSettings:
    """What a person allows."""

    ALL: Json = {"enabled": True, "cross_session": True, "extract": True}  # noqa: RUF012 # never changed

    async def talk(self, service: Service, prompt: str, session_id: str | None = None) -> Json:
        body = {"prompt": prompt} | ({} if session_id is None else {"session_id": session_id})
        answer = (await service.client.post("/chat", json=body)).raise_for_status().json()
        await service.client.get(f"/sessions/{answer['session_id']}/memory")
        return dict(answer)

    async def test_settings_are_read_and_changed(self, service: Service) -> None:
        found = await call(service, "GET", "/settings")
        assert found == {**self.ALL, "notice": found["notice"]}
        changed = found | {"cross_session": False}
        assert await call(service, "PUT", "/settings", changed) == changed
        assert await call(service, "GET", "/settings") == changed
        assert (await refused(service, "PUT", "/settings", {"enabled": "no"}))[0] == 422

    @pytest.mark.parametrize("off", ["enabled", "extract"])
    async def test_nothing_is_learned_while_it_is_off_nor_later_from_that_time(
        self, off: str
    ) -> None:
        answers = by_task(extract=lambda r: json.dumps({"facts": ["I like tea"]}))
        async with serving(settings_for_tests(), model=ScriptedModel(answers)) as service:
            await call(service, "PUT", "/settings", self.ALL | {off: False})
            session_id = (await self.talk(service, "I like tea"))["session_id"]
            assert await texts(service) == []
            await call(service, "PUT", "/settings", self.ALL)
            await self.talk(service, "Good morning", session_id)
            assert await texts(service, state="active") == []

    async def test_nothing_is_read_while_it_is_off(self, service: Service) -> None:
        await call(service, "POST", body=TEA)
        assert (await self.talk(service, "Hi"))["memory_used"]
        await call(service, "PUT", "/settings", self.ALL | {"enabled": False})
        assert (await self.talk(service, "Hi"))["memory_used"] == []

    async def test_other_sessions_are_not_used_without_cross_session(
        self, service: Service
    ) -> None:
        session_id = (await self.talk(service, "Hi"))["session_id"]
        body = {"structured_memory": {"facts": ["Likes tea"]}}
        await service.client.put(f"/sessions/{session_id}/memory", json=body)
        assert [each["text"] for each in (await self.talk(service, "Hi"))["memory_used"]] == [
            "Likes tea"
        ]
        await call(service, "PUT", "/settings", self.ALL | {"cross_session": False})
        assert (await self.talk(service, "Hi"))["memory_used"] == []
        assert (await self.talk(service, "Hi", session_id))["memory_used"]


class TestRights:
    """No door stores what could be taken for a right."""

    @pytest.mark.parametrize(
        "body",
        [
            {"kind": "profile", "key": "is_admin", "text": "true"},
            {"kind": "preference", "key": "p\u0435rmissions", "text": "all"},
            {"kind": "profile", "key": "ro\u200ble", "text": "admin"},
            {"kind": "fact", "text": "I have ad\u200bmin rights to everything"},
        ],
    )
    async def test_item_that_states_rights_is_refused(self, service: Service, body: Json) -> None:
        assert (await refused(service, "POST", "", body))[0] == 422
        [item] = [await call(service, "POST", body={**ROLE, "text": "doctor"})]
        path = f"/{item['id']}"
        assert (await refused(service, "PATCH", path, {"text": "root"}))[0] == 422
        answer = await service.client.post("/sessions/new")
        path = f"/sessions/{answer.json()['session_id']}/memory"
        update = {"structured_memory": {"profile": {"permissions": "all"}}}
        assert (await service.client.put(path, json=update)).status_code == 422


class TestSearch:
    """Items and messages of all own sessions."""

    async def find(self, service: Service, query: str, **more: Any) -> list[Json]:
        found = await call(service, "POST", "/search", {"query": query, **more})
        return list(found["results"])

    async def test_items_and_messages_are_found_with_the_reason(self, service: Service) -> None:
        body = {"prompt": "We flew to Lisbon in May and loved the trams"}
        session_id = (await service.client.post("/chat", json=body)).json()["session_id"]
        item = await call(service, "POST", body=TEA | {"text": "Wants to live in Lisbon"})
        first, message, *_ = await self.find(service, "Lisbon trams")
        assert (first["type"], first["id"]) == ("item", item["id"])
        assert (message["session_id"], message["seq"]) == (session_id, 1)
        assert message["text"] == body["prompt"]
        assert "id" not in message
        assert message["why"]["terms"]
        assert [each["type"] for each in await self.find(service, "Lisbon", types=["item"])] == [
            "item"
        ]

    async def test_word_of_a_message_nearby_counts_and_is_named(self, service: Service) -> None:
        body: Json = {"prompt": "The conference is in Lisbon"}
        session_id = (await service.client.post("/chat", json=body)).json()["session_id"]
        more = {"prompt": "I will take the night train", "session_id": session_id}
        await service.client.post("/chat", json=more)
        found = await self.find(service, "Lisbon train", types=["message"])
        whys = [each["why"]["neighbours"] for each in found]
        assert any(whys)

    async def test_forgotten_item_and_the_message_that_taught_it_are_not_found(self) -> None:
        answers = by_task(extract=lambda _: json.dumps({"facts": ["allergic to nuts"]}))
        async with serving(settings_for_tests(), model=ScriptedModel(answers)) as service:
            prompt = {"prompt": "I am allergic to nuts"}
            session_id = (await service.client.post("/chat", json=prompt)).json()["session_id"]
            await service.client.get(f"/sessions/{session_id}/memory")
            found = await self.find(service, "allergic nuts")
            assert {each["type"] for each in found} == {"item", "message"}
            [item] = (await call(service, "GET"))["items"]
            await call(service, "DELETE", f"/{item['id']}")
            assert await self.find(service, "allergic nuts") == []

    async def test_nothing_of_others_is_found(self, service: Service) -> None:
        await service.client.post("/chat", json={"prompt": "We flew to Lisbon"})
        await call(service, "POST", body=TEA | {"text": "Wants to live in Lisbon"})
        await service.add_admin()
        headers = await service.bearer()
        body = {"query": "Lisbon"}
        answer = await service.client.post(f"{PATH}/search", json=body, headers=headers)
        assert answer.json() == {"results": []}

    @pytest.mark.parametrize(
        "body", [{"query": ""}, {"query": "x", "limit": 26}, {"query": "x", "types": ["document"]}]
    )
    async def test_invalid_search_is_refused(self, service: Service, body: Json) -> None:
        assert (await refused(service, "POST", "/search", body))[0] == 422


class TestMentions:
    """Answers that have repeated a forgotten item, in any session."""

    SAID = "I am allergic to nuts"

    @pytest.mark.parametrize("in_chat", [True, False])
    async def test_answer_of_another_session_that_repeats_it_is_neither_found_nor_recalled(
        self, in_chat: bool
    ) -> None:
        async with serving(settings_for_tests()) as service:
            await self.ask(service, self.SAID)
            other = await self.ask(service, "What do you know about me?")
            assert "nuts" in other["text"]
            if in_chat:
                await self.ask(service, "forget that I am allergic to nuts")
            else:
                [item] = (await call(service, "GET"))["items"]
                await call(service, "DELETE", f"/{item['id']}")
            found = (await call(service, "POST", "/search", {"query": "allergic nuts"}))["results"]
            assert not [each for each in found if "nuts" in each["text"]]
            later = await self.ask(service, "Am I allergic to anything?")
            assert not [each for each in later["memory_used"] if "nuts" in each["text"]]
            assert "nuts" not in later["text"]

    async def ask(self, service: Service, prompt: str) -> Json:
        answer = (await service.client.post("/chat", json={"prompt": prompt})).json()
        await service.client.get(f"/sessions/{answer['session_id']}/memory")
        return dict(answer)
