"""/sessions, /summary and /memory over a real uvicorn: schemas, paging, limits, ownership."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application import transcripts
from chatbot.application.prompt_texts import texts_in
from chatbot.domain.errors import ModelUnavailable, StorageUnavailable
from chatbot.domain.ports.storage import Found
from chatbot.domain.transaction import Transaction
from conversation import by_task
from service import SSE, Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSION_KEYS = {
    *("session_id", "title", "created_at", "updated_at", "message_count", "summary"),
    *("structured_memory", "messages"),
}
LINE_KEYS = {"session_id", "title", "created_at", "updated_at", "message_count"}
MESSAGE_KEYS = {"seq", "role", "content", "ts", "turn_id", "state"}
EMPTY_MEMORY = {
    "profile": {"name": None, "role": None},
    "preferences": {"language": "es", "tone": "neutral"},
    "facts": [],
    "todos": [],
}
MEMORY = {
    "profile": {"name": "Ana", "role": "buyer", "team": "north"},
    "preferences": {"language": "en", "tone": "warm"},
    "facts": ["likes tea"],
    "todos": ["call Luis"],
}
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UNKNOWN_ID = "0" * 32

Route = tuple[str, str, dict[str, Any] | None]

ROUTES_OF_A_SESSION: list[Route] = [
    ("GET", "/sessions/{id}", None),
    ("PATCH", "/sessions/{id}", {"title": "Stolen."}),
    ("GET", "/sessions/{id}/export", None),
    ("POST", "/sessions/{id}/reset", None),
    ("GET", "/sessions/{id}/summary", None),
    ("PUT", "/sessions/{id}/summary", {"summary": "Stolen."}),
    ("POST", "/sessions/{id}/summary/reset", None),
    ("GET", "/sessions/{id}/memory", None),
    ("PUT", "/sessions/{id}/memory", {"structured_memory": MEMORY}),
    ("POST", "/sessions/{id}/memory/reset", None),
    ("POST", "/chat", {"prompt": "Let me in", "session_id": "{id}"}),
    ("DELETE", "/sessions/{id}", None),
]


@asynccontextmanager
async def serving_sessions(**settings: object) -> AsyncGenerator[Service]:
    """A service whose model answers, without automatic memory."""
    given = {"mem_structured_enable": False, "mem_summarize_threshold": 0} | settings
    model = ScriptedModel(lambda _: "Of course.")
    async with serving(settings_for_tests(**given), model=model) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    """A shared service for tests that need no settings and list nothing."""
    async with serving_sessions() as service:
        yield service


async def begin(service: Service, headers: dict[str, str] | None = None) -> str:
    answer = await service.client.post("/sessions/new", headers=headers)
    assert answer.status_code == 201
    return str(answer.json()["session_id"])


async def talk(service: Service, *prompts: str, headers: dict[str, str] | None = None) -> str:
    """A session in which these prompts were answered."""
    session_id = await begin(service, headers)
    for prompt in prompts:
        body = {"prompt": prompt, "session_id": session_id}
        (await service.client.post("/chat", json=body, headers=headers)).raise_for_status()
    return session_id


async def call(
    client: httpx.AsyncClient,
    route: Route,
    session_id: str,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    method, path, body = route
    filled = body and {key: session_id if value == "{id}" else value for key, value in body.items()}
    path = path.replace("{id}", session_id)
    return await client.request(method, path, json=filled, headers=headers)


def no_such_session(answer: httpx.Response) -> bool:
    return code_of(answer) == (404, "not_found")


async def test_new_session_has_an_id_and_the_notice() -> None:
    async with serving_sessions(assistant_notice="I am an AI.") as service:
        answer = await service.client.post("/sessions/new")
    assert answer.status_code == 201
    assert answer.json().keys() == {"session_id", "notice"}
    assert answer.json()["notice"] == "I am an AI."
    assert re.fullmatch("[0-9a-f]{32}", answer.json()["session_id"])


async def test_new_session_without_a_notice_has_an_id_only() -> None:
    async with serving_sessions(assistant_notice="") as service:
        answer = await service.client.post("/sessions/new")
    assert answer.json().keys() == {"session_id"}


async def test_session_shows_itself_its_memory_and_its_messages(shared: Service) -> None:
    session_id = await talk(shared, "x" * 61)
    body = (await shared.client.get(f"/sessions/{session_id}")).json()
    assert body.keys() == SESSION_KEYS
    assert body["session_id"] == session_id
    assert body["title"] == "x" * 60
    assert body["summary"] == ""
    assert body["structured_memory"] == EMPTY_MEMORY
    assert [m.keys() for m in body["messages"]] == [MESSAGE_KEYS] * 2
    assert [(m["seq"], m["role"], m["state"]) for m in body["messages"]] == [
        (1, "user", "complete"),
        (2, "assistant", "complete"),
    ]
    times = [body["created_at"], body["updated_at"], *(m["ts"] for m in body["messages"])]
    assert all(RFC3339_UTC.fullmatch(time) for time in times)


async def test_empty_session_has_empty_fields(shared: Service) -> None:
    body = (await shared.client.get(f"/sessions/{await begin(shared)}")).json()
    assert (body["title"], body["messages"], body["summary"]) == ("", [], "")
    assert body["structured_memory"] == EMPTY_MEMORY


async def test_default_language_is_the_first_preference() -> None:
    async with serving_sessions(default_language="en") as service:
        path = f"/sessions/{await begin(service)}/memory"
        memory = (await service.client.get(path)).json()["structured_memory"]
    assert memory == EMPTY_MEMORY | {"preferences": {"language": "en", "tone": "neutral"}}


@pytest.mark.parametrize(
    ("given", "header", "expected"),
    [
        ({}, "en-GB, es;q=0.5", texts_in("en").notice),
        ({}, "es, en;q=0.5", texts_in("es").notice),
        ({}, "fr", texts_in("es").notice),
        ({"default_language": "es"}, "en", texts_in("es").notice),
        ({"assistant_notice": "I am an AI."}, "es", "I am an AI."),
    ],
)
async def test_new_sessions_notice_is_in_the_callers_language(
    given: dict[str, str], header: str, expected: str
) -> None:
    async with serving_sessions(**given) as service:
        answer = await service.client.post("/sessions/new", headers={"Accept-Language": header})
    assert answer.json()["notice"] == expected


async def test_defaults_sent_back_do_not_count_as_said(shared: Service) -> None:
    session_id = await begin(shared)
    path = f"/sessions/{session_id}/memory"
    shown = (await shared.client.get(path)).json()["structured_memory"]
    shown["preferences"]["answers"] = "with examples"

    put = await shared.client.put(path, json={"structured_memory": shown})
    body = {"prompt": "Hello", "session_id": session_id}
    answer = (await shared.client.post("/chat", json=body)).json()

    assert put.json()["structured_memory"] == shown
    assert [used["text"] for used in answer["memory_used"]] == ["answers: with examples"]


async def test_preference_other_than_the_default_is_used_until_it_is_changed(
    shared: Service,
) -> None:
    session_id = await begin(shared)
    path = f"/sessions/{session_id}/memory"
    used = []
    for language in ("en", "es"):
        await shared.client.put(
            path, json={"structured_memory": {"preferences": {"language": language}}}
        )
        body = {"prompt": "Hello", "session_id": session_id}
        answer = (await shared.client.post("/chat", json=body)).json()
        texts = [each["text"] for each in answer["memory_used"]]
        used += [text for text in texts if text.startswith("language")]

    assert used == ["language: en", "language: es"]


async def test_messages_come_in_windows_from_the_newest_back(shared: Service) -> None:
    session_id = await talk(shared, "a", "b", "c")

    async def numbers(**query: int) -> list[int]:
        answer = await shared.client.get(f"/sessions/{session_id}", params=query)
        return [message["seq"] for message in answer.json()["messages"]]

    assert await numbers() == [1, 2, 3, 4, 5, 6]
    assert await numbers(limit=2) == [5, 6]
    assert await numbers(limit=2, before=5) == [3, 4]
    assert await numbers(limit=200, before=3) == [1, 2]
    assert await numbers(before=1) == []
    assert await numbers(before=10**15) == [1, 2, 3, 4, 5, 6]


async def test_messages_have_a_default_limit_of_50(shared: Service) -> None:
    session_id = await talk(shared, *("Hi" for _ in range(26)))
    body = (await shared.client.get(f"/sessions/{session_id}")).json()
    assert [body["messages"][0]["seq"], body["messages"][-1]["seq"]] == [3, 52]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "before=0", "before=x"],
)
async def test_window_outside_its_limits_is_422(shared: Service, query: str) -> None:
    answer = await shared.client.get(f"/sessions/{await begin(shared)}?{query}")
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "after=", "after=x", "after=-", "after=0-x"]
)
async def test_page_outside_its_limits_is_422(shared: Service, query: str) -> None:
    answer = await shared.client.get(f"/sessions?{query}")
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.parametrize("micros", ["f" * 30, "-0", "0x1", "1_0", " 1", "+1", "\u0661"])
async def test_forged_cursor_is_422(shared: Service, micros: str) -> None:
    after = {"after": f"{micros}-{UNKNOWN_ID}"}
    answer = await shared.client.get("/sessions", params=after)
    assert code_of(answer) == (422, "invalid_request")


async def test_list_goes_by_last_use_and_holds_no_messages() -> None:
    async with serving_sessions() as service:
        older, newer = await talk(service, "Old"), await talk(service, "New")
        body = {"prompt": "Again", "session_id": older}
        (await service.client.post("/chat", json=body)).raise_for_status()
        page = (await service.client.get("/sessions")).json()
    assert page.keys() == {"sessions", "next"}
    assert page["next"] is None
    assert [line.keys() for line in page["sessions"]] == [LINE_KEYS] * 2
    assert [
        (line["session_id"], line["title"], line["message_count"]) for line in page["sessions"]
    ] == [(older, "Old", 4), (newer, "New", 2)]
    assert all(RFC3339_UTC.fullmatch(line["updated_at"]) for line in page["sessions"])


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_pages_hold_every_session_once_in_the_order_of_the_list(limit: int) -> None:
    async with serving_sessions() as service:
        begun = [await begin(service) for _ in range(5)]
        seen: list[str] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            page = (await service.client.get("/sessions", params=query)).json()
            assert 0 < len(page["sessions"]) <= limit
            seen += [line["session_id"] for line in page["sessions"]]
            if page["next"] is None:
                break
            query["after"] = page["next"]
    assert seen == begun[::-1]


async def test_export_is_a_markdown_document_with_every_message() -> None:
    prompt = "# Not *a* title\r\n\n```\nand\x0bno `fence`  "
    cut_off = Script(pieces=("I was about",), failure=ModelUnavailable())
    model = ScriptedModel([Script(pieces=("```python\n", "1 + 1")), cut_off, "Yes."])
    async with serving(settings_for_tests(mem_structured_enable=False), model=model) as service:
        session_id = await begin(service)
        for text in (prompt, "And?", "Really?"):
            body = {"prompt": text, "session_id": session_id}
            await service.client.post("/chat", json=body, headers=SSE)
        session = (await service.client.get(f"/sessions/{session_id}")).json()
        answer = await service.client.get(f"/sessions/{session_id}/export")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    times = [message["ts"] for message in session["messages"]]
    assert (
        answer.text
        == f"""\
# \\# Not \\*a\\* title \\`\\`\\` and no \\`fence\\`

- Created: {session["created_at"]}
- Updated: {session["updated_at"]}

## User, {times[0]}

> # Not *a* title
>
> ```
> and\x0bno `fence`\x20\x20

## Assistant, {times[1]}

> ```python
> 1 + 1

## User, {times[2]}

> And?

## Assistant, {times[3]} (interrupted: upstream)

> I was about

## User, {times[4]}

> Really?

## Assistant, {times[5]}

> Yes.
"""
    )


async def test_export_of_an_empty_session_has_a_title(shared: Service) -> None:
    answer = await shared.client.get(f"/sessions/{await begin(shared)}/export")
    assert answer.text.startswith("# Conversation\n\n- Created: ")


class Failing(InMemoryStorage):
    """Fails after the first `left` transactions; never, if that is None."""

    left: int | None = None

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise StorageUnavailable("The disk is gone.")
        return await super().transact(work)


async def test_export_that_cannot_be_completed_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "EXPORTED_AT_ONCE", 2)
    storage, model = Failing(), ScriptedModel(lambda _: "Of course.")
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0)
    async with serving(settings, storage=storage, model=model) as service:
        session_id = await talk(service, "One", "Two")
        storage.left = 0
        answer = await service.client.get(f"/sessions/{session_id}/export")
        assert code_of(answer) == (503, "storage_unavailable")
        storage.left = 1
        with capture_logs() as lines, pytest.raises(httpx.RemoteProtocolError):
            await service.client.get(f"/sessions/{session_id}/export")
    [line] = [line for line in lines if line["event"] != "stopped"]
    assert (line["event"], line["log_level"]) == ("request", "error")
    assert line["cause"].startswith("StorageUnavailable: The disk is gone.")


async def test_reset_empties_messages_summary_and_memory_and_never_counts_again(
    shared: Service,
) -> None:
    session_id = await talk(shared, "Hi")
    path = f"/sessions/{session_id}"
    await shared.client.put(f"{path}/summary", json={"summary": "We said hi."})
    await shared.client.put(f"{path}/memory", json={"structured_memory": MEMORY})
    answer = await shared.client.post(f"{path}/reset")
    assert answer.status_code == 200
    assert answer.json().keys() == SESSION_KEYS
    assert answer.json() == (await shared.client.get(path)).json()
    assert (answer.json()["title"], answer.json()["messages"]) == ("", [])
    assert (answer.json()["summary"], answer.json()["structured_memory"]) == ("", EMPTY_MEMORY)
    body = {"prompt": "Fresh", "session_id": session_id}
    (await shared.client.post("/chat", json=body)).raise_for_status()
    afterwards = (await shared.client.get(path)).json()
    assert afterwards["title"] == "Fresh"
    assert [m["seq"] for m in afterwards["messages"]] == [3, 4]


async def test_deleted_session_is_gone_on_every_route() -> None:
    async with serving_sessions() as service:
        session_id = await talk(service, "Hi")
        answer = await service.client.delete(f"/sessions/{session_id}")
        assert answer.status_code == 200
        assert answer.json() == {"deleted": True, "session_id": session_id}
        for route in ROUTES_OF_A_SESSION:
            assert no_such_session(await call(service.client, route, session_id)), route
        assert (await service.client.get("/sessions")).json()["sessions"] == []


@pytest.mark.parametrize(
    "odd_id",
    [
        *("x", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "%20" * 32, "..", "%2e%2e", "new", "%00"),
        "\u0660" * 32,
        "0" * 31 + "%0a",
        UNKNOWN_ID,
    ],
)
async def test_malformed_id_is_404_like_any_unknown_one(shared: Service, odd_id: str) -> None:
    answers = [
        await shared.client.get(f"/sessions/{odd_id}/summary"),
        await shared.client.post(f"/sessions/{odd_id}/reset"),
        await shared.client.put(f"/sessions/{odd_id}/summary", json={"summary": "x"}),
        await shared.client.delete(f"/sessions/{odd_id}/"[:-1]),
        await shared.client.post("/chat", json={"prompt": "Hi", "session_id": odd_id}),
    ]
    expected = 405 if odd_id in {"..", "%2e%2e"} else 404  # httpx and browsers resolve dots
    assert {answer.status_code for answer in answers} <= {404, expected}


HEX_LIKE = st.text("0123456789abcdefABCDEF", min_size=30, max_size=34)


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | HEX_LIKE)
async def test_any_text_except_an_own_id_gets_the_response_of_an_unknown_id(
    shared: Service, text: str
) -> None:
    answers = [
        await shared.client.post("/chat", json={"prompt": "Hi", "session_id": odd_id})
        for odd_id in (UNKNOWN_ID, text)
    ]
    if "/" not in text and text not in {"", ".", ".."}:  # else it is another path
        answers.append(await shared.client.get(f"/sessions/{quote(text)}/memory"))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text.replace(answer.json()["instance"], "") for answer in answers}) == 1
    assert len({frozenset(answer.headers) for answer in answers}) == 1


async def test_summary_is_read_put_and_reset(shared: Service) -> None:
    session_id = await talk(shared, "Hi")
    path = f"/sessions/{session_id}/summary"
    answers = [
        await shared.client.get(path),
        await shared.client.put(path, json={"summary": "We said hi. ¡Sí!"}),
        await shared.client.get(path),
        await shared.client.post(f"{path}/reset"),
        await shared.client.get(path),
    ]
    assert all(answer.status_code == 200 for answer in answers)
    assert all(answer.json().keys() == {"session_id", "summary"} for answer in answers)
    assert [answer.json()["summary"] for answer in answers] == [
        *("", "We said hi. ¡Sí!", "We said hi. ¡Sí!", "", ""),
    ]


async def test_memory_is_read_put_and_reset(shared: Service) -> None:
    session_id = await talk(shared, "Hi")
    path = f"/sessions/{session_id}/memory"
    answers = [
        await shared.client.get(path),
        await shared.client.put(path, json={"structured_memory": MEMORY}),
        await shared.client.get(path),
        await shared.client.put(path, json={"structured_memory": {"facts": ["only this"]}}),
        await shared.client.post(f"{path}/reset"),
    ]
    assert all(answer.status_code == 200 for answer in answers)
    assert all(
        answer.json().keys() == {"session_id", "structured_memory", "items"} for answer in answers
    )
    assert [answer.json()["structured_memory"] for answer in answers] == [
        *(EMPTY_MEMORY, MEMORY, MEMORY, EMPTY_MEMORY | {"facts": ["only this"]}, EMPTY_MEMORY),
    ]


async def test_reading_memory_waits_for_the_extraction_of_the_last_answer() -> None:
    go_on = asyncio.Event()
    answers = by_task(extract=lambda _: Script(pieces=('{"facts": ["hello"]}',), pause=go_on.wait))
    async with serving(settings_for_tests(), model=ScriptedModel(answers)) as service:
        session_id = await talk(service, "hello")
        path = f"/sessions/{session_id}/memory"
        pending = (await service.client.get(path)).json()
        reading = asyncio.create_task(service.client.get(path))
        await asyncio.sleep(0.05)
        go_on.set()
        done = (await reading).json()
    assert pending == {
        "session_id": session_id, "structured_memory": EMPTY_MEMORY, "items": [], "pending": True,
    }  # fmt: skip
    [item] = done["items"]
    assert (item["text"], item["state"]) == ("hello", "active")
    assert item["sources"] == [{"session_id": session_id, "seq": 1, "quote": "hello"}]
    assert done["structured_memory"] == EMPTY_MEMORY | {"facts": ["hello"]}


async def test_memory_that_was_read_can_be_put_back(shared: Service) -> None:
    path = f"/sessions/{await begin(shared)}/memory"
    read = (await shared.client.get(path)).json()["structured_memory"]
    answer = await shared.client.put(path, json={"structured_memory": read})
    assert (answer.status_code, answer.json()["structured_memory"]) == (200, EMPTY_MEMORY)


Filled = Callable[[int], dict[str, Any]]


def in_list(name: str) -> Filled:
    return lambda size: {name: [str(n) for n in range(size)]}


def in_keys(name: str) -> Filled:
    return lambda size: {name: {f"key {n}": "x" for n in range(size)}}


def as_key(name: str) -> Filled:
    return lambda size: {name: {"k" * size: "x"}}


def as_value(name: str) -> Filled:
    return lambda size: {name: {"language" if name == "preferences" else "name": "x" * size}}


@pytest.mark.parametrize(
    ("filled", "most"),
    [
        *((in_list(name), 20) for name in ("facts", "todos")),
        *((in_keys(name), 20) for name in ("profile", "preferences")),
        *((as_key(name), 64) for name in ("profile", "preferences")),
        *((as_value(name), 500) for name in ("profile", "preferences")),
        (lambda size: {"facts": ["x" * size]}, 500),
        (lambda size: {"todos": ["x" * size]}, 500),
    ],
)
async def test_memory_over_a_limit_is_422_and_changes_nothing(
    shared: Service, filled: Filled, most: int
) -> None:
    path = f"/sessions/{await begin(shared)}/memory"
    fits = await shared.client.put(path, json={"structured_memory": filled(most)})
    over = await shared.client.put(path, json={"structured_memory": filled(most + 1)})
    stored = (await shared.client.get(path)).json()
    assert fits.status_code == 200
    assert code_of(over) == (422, "invalid_request")
    assert stored == fits.json()


async def test_standard_keys_do_not_count_as_other_keys(shared: Service) -> None:
    keys: dict[str, Any] = {f"key {n}": "x" for n in range(20)}
    filled = {
        "profile": keys | {"name": "Ana", "role": "buyer"},
        "preferences": keys | {"language": "en", "tone": "warm"},
    }
    path = f"/sessions/{await begin(shared)}/memory"
    answer = await shared.client.put(path, json={"structured_memory": filled})
    assert answer.status_code == 200


async def test_setting_bounds_the_lists_of_memory() -> None:
    async with serving_sessions(mem_structured_max_items=2) as service:
        path = f"/sessions/{await begin(service)}/memory"
        put = [
            await service.client.put(path, json={"structured_memory": in_list("facts")(size)})
            for size in (2, 3)
        ]
    assert [answer.status_code for answer in put] == [200, 422]


async def test_summary_over_4000_characters_is_422_and_changes_nothing(shared: Service) -> None:
    path = f"/sessions/{await begin(shared)}/summary"
    fits = await shared.client.put(path, json={"summary": "😀" * 4000})
    over = await shared.client.put(path, json={"summary": "x" * 4001})
    stored = (await shared.client.get(path)).json()
    assert fits.status_code == 200
    assert code_of(over) == (422, "invalid_request")
    assert stored == fits.json()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"structured_memory": None},
        {"structured_memory": []},
        {"structured_memory": {}, "other": 1},
        {"structured_memory": {"other": []}},
        {"structured_memory": {"facts": "x"}},
        {"structured_memory": {"facts": [1]}},
        {"structured_memory": {"facts": [None]}},
        {"structured_memory": {"profile": {"name": 1}}},
        {"structured_memory": {"profile": {"other": {}}}},
        {"structured_memory": {"preferences": []}},
    ],
)
async def test_memory_of_another_shape_is_422(shared: Service, body: dict[str, Any]) -> None:
    answer = await shared.client.put(f"/sessions/{await begin(shared)}/memory", json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json()["errors"]


async def test_two_users_and_the_bare_client_do_not_see_each_others_sessions() -> None:
    """Each of three callers requests the sessions of the other two, on every route."""
    async with serving_sessions() as service:
        await service.add_user("ana@example.com")
        await service.add_user("luis@example.com")
        callers = {
            "ana": await service.bearer("ana@example.com"),
            "luis": await service.bearer("luis@example.com"),
            "client": {},
        }
        owned = {name: await talk(service, name, headers=h) for name, h in callers.items()}
        absent = {
            route[:2]: (await call(service.client, route, UNKNOWN_ID)).json() | {"instance": ""}
            for route in ROUTES_OF_A_SESSION
        }
        before = {
            name: (await service.client.get(f"/sessions/{owned[name]}", headers=h)).json()
            for name, h in callers.items()
        }
        for name, headers in callers.items():
            listed = (await service.client.get("/sessions", headers=headers)).json()["sessions"]
            assert [line["session_id"] for line in listed] == [owned[name]]
            for other in callers.keys() - {name}:
                for route in ROUTES_OF_A_SESSION:
                    answer = await call(service.client, route, owned[other], headers)
                    assert no_such_session(answer), (name, other, route)
                    assert answer.json() | {"instance": ""} == absent[route[:2]]
        after = {
            name: (await service.client.get(f"/sessions/{owned[name]}", headers=h)).json()
            for name, h in callers.items()
        }
    assert after == before
