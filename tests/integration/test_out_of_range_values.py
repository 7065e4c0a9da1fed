"""Numbers, times and ids out of range are rejected, on every store."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.chat import SessionCursor, SessionId
from chatbot.entrypoints.commands.store import upgrade
from chatbot.entrypoints.http.cursor import read_cursor, write_cursor
from service import Service, begin, code_of, serving, settings_for_tests

ZEROS = "0" * 32
JSON = {"Content-Type": "application/json"}

NOT_DIGITS = [
    *("1.0", "1e2", "+1", " 1", "1 ", "-1", "-0", "1_0", "0x1", "1,0", "NaN", "Infinity", "null"),
    *("\u0661", "\uff11", "²", "\0", "1\0", "true", "[1]", "'1'", "1;2"),
]
TOO_LARGE = [str(2**63 - 1), str(2**63), str(2**64), "9" * 400, "0" * 400 + "1", str(10**400)]
MOMENTS = [
    datetime.min.replace(tzinfo=UTC),
    datetime(1600, 2, 29, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2500, 1, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
]
NOT_CURSORS = [
    *(
        "",
        "-",
        f"-{ZEROS}",
        f"0{ZEROS}",
        f"0-{ZEROS}0",
        f"0-{'g' * 32}",
        f"00-{ZEROS}",
        f"-0-{ZEROS}",
    ),
    *(
        f"+1-{ZEROS}",
        f" 1-{ZEROS}",
        f"1_0-{ZEROS}",
        f"0x1-{ZEROS}",
        f"A-{ZEROS}",
        f"\u0661-{ZEROS}",
    ),
    *(f"{'f' * 16}-{ZEROS}", f"-{'f' * 16}-{ZEROS}", f"{'f' * 160}-{ZEROS}", f"1.0-{ZEROS}"),
    *(
        f"nan-{ZEROS}",
        f"1-{ZEROS}\0",
        f"\0-{ZEROS}",
        f"--1-{ZEROS}",
        "1-" + "\u0660" * 32,
    ),
    # a microsecond before the year 1, and after 9999
    *(f"-dcbffeff2bc001-{ZEROS}", f"384440ccc736000-{ZEROS}"),
]
ODD_VALUES = [
    *(
        "-1",
        "0",
        "1.0",
        "1e400",
        str(2**31),
        str(2**63),
        str(2**64),
        str(10**400),
        "9" * 5000,
        "NaN",
    ),
    *(
        "null",
        "true",
        "[]",
        "{}",
        '""',
        '"\\u0000"',
        '"\\ud800"',
        '"\\udfff x"',
        "[[1]]",
        '{"a": 1}',
    ),
    *('"\u0661"', '"+1"', '" 1"', '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:60Z"', '"\\u202e"'),
]


@pytest_asyncio.fixture(params=["memory:", "json:data", "sqlite:///data/chatbot.db"])
async def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Service]:
    monkeypatch.chdir(tmp_path)
    settings = settings_for_tests(storage_url=request.param, mem_structured_enable=False)
    if request.param.startswith("sqlite"):
        await asyncio.to_thread(upgrade, settings)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as running:
        yield running


async def test_query_numbers_are_digits_within_their_range(service: Service) -> None:
    session_id = await begin(service.client)

    async def asked(path: str, name: str, value: str) -> httpx.Response:
        return await service.client.get(f"{path}?{name}={quote(value)}")

    for value in [*NOT_DIGITS, *TOO_LARGE, "0", "201", str(2**31)]:
        for path in ("/sessions", f"/sessions/{session_id}"):
            assert code_of(await asked(path, "limit", value)) == (422, "invalid_request"), value
    for value in [*NOT_DIGITS, *TOO_LARGE, "0", str(2**53)]:
        answer = await asked(f"/sessions/{session_id}", "before", value)
        assert code_of(answer) == (422, "invalid_request"), value
    for value in ("1", "01", str(2**31), str(2**32), str(2**53 - 1)):
        answer = await asked(f"/sessions/{session_id}", "before", value)
        assert answer.status_code == 200, value


async def test_forged_cursor_is_rejected(service: Service) -> None:
    await begin(service.client)
    for value in NOT_CURSORS:
        answer = await service.client.get(f"/sessions?after={quote(value)}")
        assert code_of(answer) == (422, "invalid_request"), value
    for surrogate in ("%ED%A0%80", "%FF", "%00", "%"):
        answer = await service.client.get(f"/sessions?after={surrogate}")
        assert code_of(answer) == (422, "invalid_request"), surrogate


async def test_cursor_works_for_every_time_that_a_session_can_have(service: Service) -> None:
    await begin(service.client)
    for moment in MOMENTS:
        mark = SessionCursor(updated_at=moment, id=SessionId("f" * 32))
        assert read_cursor(write_cursor(mark)) == mark
        answer = await service.client.get(f"/sessions?after={write_cursor(mark)}")
        assert answer.status_code == 200, moment
        assert len(answer.json()["sessions"]) == (moment.year > 2400), moment


async def test_malformed_id_is_unknown(service: Service) -> None:
    odd = [*NOT_DIGITS, *TOO_LARGE, "A" * 32, f"{ZEROS}\n", ZEROS[1:] + "\u0660", "%ED%A0%80"]
    for value in odd:
        for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/memory"), ("POST", "/reset")):
            path = f"/sessions/{quote(value, safe='%')}{rest}"
            answer = await service.client.request(method, path)
            assert answer.status_code in {404, 405}, (method, value)
        answer = await service.client.post("/chat", json={"prompt": "Hi", "session_id": value})
        assert answer.status_code in ({404} if "\0" not in value else {400}), value


async def test_value_of_a_wrong_type_in_a_body_is_rejected(service: Service) -> None:
    session_id = await begin(service.client)
    memory = f"/sessions/{session_id}/memory"
    bodies = [
        *(("POST", "/chat", '{"prompt": %s}'), ("POST", "/chat", '{"prompt": "Hi", "%s": 1}')),
        ("POST", "/chat", '{"prompt": "Hi", "session_id": %s}'),
        ("POST", "/auth/login", '{"email": %s, "password": "x"}'),
        ("POST", "/auth/login", '{"email": "a@example.com", "password": %s}'),
        ("PUT", f"/sessions/{session_id}/summary", '{"summary": %s}'),
        *(
            ("PUT", memory, '{"structured_memory": {' + part + "}}")
            for part in ('"facts": %s', '"facts": [%s]', '"profile": {"name": %s}', '"todos": %s')
        ),
        ("PUT", memory, '{"structured_memory": {"preferences": {"x": %s}}}'),
        ("PUT", memory, '{"structured_memory": %s}'),
    ]
    for method, path, body in bodies:
        for value in ODD_VALUES:
            filled = body.replace("%s", value.strip('"') if '"%s"' in body else value)
            answer = await service.client.request(method, path, content=filled, headers=JSON)
            assert answer.status_code in {200, 400, 401, 404, 413, 422, 429}, (path, filled[:99])
            if answer.status_code == 200:
                json.loads(filled)


async def test_422_lists_at_most_twenty_errors(service: Service) -> None:
    many = {"prompt": 1, **{f"field{n}": n for n in range(2000)}}
    answer = await service.client.post("/chat", json=many)
    assert code_of(answer) == (422, "invalid_request")
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 8000
    short = await service.client.post("/chat", json={"prompt": 1, "other": 2})
    assert len(short.json()["errors"]) == 2
