"""Several workers on one store, over real HTTP, behave like one process."""

import asyncio
from pathlib import Path

import httpx
import pytest

from chatbot.entrypoints.commands.store import upgrade
from process import (
    STARTS_WITHIN_S,
    Running,
    first_delta,
    with_provider,
)
from provider import FakeProvider, Fault
from service import PASSWORD, SSE, begin, messages_of, settings_for_tests
from workers import (
    PATIENT,
    POSIX,
    WORKERS,
    a_client_of_each,
    logged,
    several,
    worker_at,
    workers_of,
)


@pytest.fixture(params=["json:data", "sqlite:///data/chatbot.db"])
def storage_url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A store that several processes can share."""
    monkeypatch.chdir(tmp_path)
    url = str(request.param)
    if url.startswith("sqlite"):
        upgrade(settings_for_tests(storage_url=url))
    return url


async def until_there_are(service: Running, count: int) -> set[int]:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while len(found := set(workers_of(service))) < count:  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.05)
    return found


async def ask(client: httpx.AsyncClient, session_id: str, prompt: str) -> None:
    """Ask until the session is free."""
    body = {"prompt": prompt, "session_id": session_id}
    while (answer := await client.post("/chat", json=body)).status_code == 409:
        assert answer.json()["code"] == "session_busy"
    assert answer.status_code == 200, answer.text


@POSIX
async def test_eight_clients_of_four_workers_talk_in_one_session_in_one_order(
    tmp_path: Path, storage_url: str
) -> None:
    async with FakeProvider() as upstream:
        upstream.fault = Fault.ALTERNATE  # refuses a prompt that misses an answer
        environment = with_provider(upstream) | {
            "MEM_SUMMARIZE_THRESHOLD": "0",
            "STORAGE_URL": storage_url,
        }
        async with several(tmp_path, **environment) as service, a_client_of_each(service) as each:
            session_id = await begin(service.client)

            async def talk(client: httpx.AsyncClient, number: int) -> None:
                for turn in range(5):
                    await ask(client, session_id, f"[{number}-{turn}]")

            async with asyncio.TaskGroup() as tasks:
                for number, client in enumerate([*each.values()] * 2):
                    tasks.create_task(talk(client, number))
            messages = await messages_of(service.client, session_id)
            turns = [line for line in logged(service) if line.get("route") == "/chat"]

    assert [message["seq"] for message in messages] == list(range(1, 81))
    questions, answers = messages[::2], messages[1::2]
    for question, answer in zip(questions, answers, strict=True):
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert (answer["state"], answer["content"]) == (
            "complete",
            f"You said: {question['content']}",
        )
    marks = [question["content"] for question in questions]
    assert sorted(marks) == sorted(f"[{n}-{turn}]" for n in range(8) for turn in range(5))
    for number in range(8):
        assert [mark for mark in marks if mark.startswith(f"[{number}-")] == [
            f"[{number}-{turn}]" for turn in range(5)
        ]
    assert len({line["pid"] for line in turns if line["status"] == 200}) > 1


@POSIX
async def test_killed_worker_is_replaced_and_its_turn_is_a_crash_while_the_others_answer(
    tmp_path: Path, storage_url: str
) -> None:
    async with (
        FakeProvider() as upstream,
        several(tmp_path, STORAGE_URL=storage_url, **with_provider(upstream), **PATIENT) as service,
        a_client_of_each(service) as each,
    ):
        session_id = await begin(service.client)
        await ask(service.client, session_id, "Kept")
        client = next(iter(each.values()))
        upstream.fault = Fault.IDLE
        body = {"prompt": "Lost", "session_id": session_id}
        async with client.stream("POST", "/chat", json=body, headers=SSE) as answer:
            lines = answer.aiter_lines()
            await first_delta(lines)
            killed = await worker_at(service, answer)
            workers_of(service)[killed].kill()
            with pytest.raises(httpx.TransportError):
                [line async for line in lines]
        upstream.fault = Fault.ALTERNATE
        for pid, other in each.items():
            if pid != killed:
                assert len(await messages_of(other, session_id)) == 3
        await ask(service.client, session_id, "Found")
        messages = await messages_of(service.client, session_id)
        now = await until_there_are(service, WORKERS)
        message = [line for line in logged(service) if line.get("worker") == killed]

        async with asyncio.timeout(STARTS_WITHIN_S):
            while not any(line["pid"] in now - set(each) for line in logged(service)):
                async with httpx.AsyncClient(trust_env=False) as another:
                    await another.get(f"{service.client.base_url}/health")

    assert [(m["role"], m["content"], m.get("reason")) for m in messages] == [
        ("user", "Kept", None),
        ("assistant", "You said: Kept", None),
        ("user", "Lost", None),
        ("assistant", "", "crash"),
        ("user", "Found", None),
        ("assistant", "You said: Lost\n\nFound", None),
    ]
    assert killed not in now
    assert [(line["level"], line["exit_code"]) for line in message] == [("warning", -9)]


@POSIX
async def test_guesses_at_a_password_are_counted_over_all_workers(
    tmp_path: Path, storage_url: str
) -> None:
    async with (
        several(tmp_path, STORAGE_URL=storage_url) as service,
        a_client_of_each(service) as each,
    ):
        body = {"email": "nobody@example.com", "password": PASSWORD}
        clients = [*each.values()] * 2
        statuses = [(await client.post("/auth/login", json=body)).status_code for client in clients]
        asked = [line["pid"] for line in logged(service) if line.get("route") == "/auth/login"]
    assert statuses == [401] * 5 + [429] * 3
    assert len(set(asked)) > 1
