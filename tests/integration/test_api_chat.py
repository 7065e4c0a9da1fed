"""POST /chat over a real uvicorn: one JSON answer, or a stream of events."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.types import Message

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.application import leases, shares
from chatbot.application.prompt_texts import Language, texts_in
from chatbot.application.turn import Delta, ReplyEvent, Started
from chatbot.domain.chat import SessionId, TurnId
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.ports.model import ChatModel
from chatbot.entrypoints.http import streaming
from chatbot.entrypoints.http.sse import SseEncoder
from conversation import PATIENCE_S, eventually
from service import (
    OF_A_FAILED_TURN,
    PROBLEM_KEYS,
    SSE,
    Service,
    messages_of,
    serving,
    settings_for_tests,
)

ANSWER = "Hola, ¿qué tal?"
ANSWER_KEYS = {
    *("session_id", "text", "turn_id", "finish_reason", "usage", "model", "memory_used"),
    "citations",
}


class Event(NamedTuple):
    id: int
    name: str
    data: Any


class Held:
    """A model that streams two pieces and then waits until it is released or cancelled."""

    def __init__(self) -> None:
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()
        self.was_cancelled = asyncio.Event()
        script = Script(pieces=("one", " two"), pause=self._pause)
        self.model = ScriptedModel(lambda _: script)

    async def _pause(self) -> None:
        self.reached.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise


def events_of(body: bytes) -> list[Event]:
    """The events of a whole stream without comments."""
    return [_event(frame) for frame in body.split(b"\n\n") if frame and frame[:1] != b":"]


def _event(frame: bytes) -> Event:
    fields = dict(line.decode().split(": ", 1) for line in frame.split(b"\n"))
    return Event(id=int(fields["id"]), name=fields["event"], data=json.loads(fields["data"]))


async def frames_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The frames as they arrive, without their final blank line."""
    waiting = b""
    async for data in response.aiter_raw():
        waiting += data
        *whole, waiting = waiting.split(b"\n\n")
        for frame in whole:
            yield frame


@asynccontextmanager
async def chatting(model: ChatModel, **settings: object) -> AsyncGenerator[Service]:
    """A service that uses this model for answers only, not for memory."""
    given = {"mem_structured_enable": False, "mem_summarize_threshold": 0} | settings
    async with serving(settings_for_tests(**given), model=model) as service:
        yield service


async def only_session(service: Service) -> str:
    """The id of the caller's one session."""
    [session] = (await service.client.get("/sessions")).json()["sessions"]
    return str(session["session_id"])


async def eventually_answered(service: Service, session_id: str) -> list[dict[str, Any]]:
    """The messages, once the turn has been stored."""
    async with asyncio.timeout(PATIENCE_S):  # nothing tells a third party that a turn was stored
        while (messages := await messages_of(service.client, session_id))[-1]["role"] == "user":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return messages


@pytest.mark.parametrize("headers", [{}, SSE])
async def test_chat_requires_an_api_key(headers: dict[str, str]) -> None:
    model = ScriptedModel(lambda _: ANSWER)
    async with chatting(model) as service:
        answer = await service.anonymous.post("/chat", json={"prompt": "Hi"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert not model.requests


async def test_json_answer_has_the_documented_form() -> None:
    async with chatting(ScriptedModel(lambda _: ANSWER)) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"})
        body = answer.json()
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert body.keys() == ANSWER_KEYS | {"notice"}
        assert body["usage"].keys() == {"input_tokens", "output_tokens", "estimated"}
        assert (body["text"], body["finish_reason"]) == (ANSWER, "stop")
        assert (body["model"], body["memory_used"]) == ("local/scripted", [])
        assert [m["content"] for m in await messages_of(service.client, body["session_id"])] == [
            "Hi",
            ANSWER,
        ]


async def test_stream_is_session_then_deltas_then_done_with_the_json_answers_object() -> None:
    async with chatting(ScriptedModel(lambda _: ANSWER)) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
        plain = (await service.client.post("/chat", json={"prompt": "Hi"})).json()
        events = events_of(answer.content)
        stored = await messages_of(service.client, events[0].data["session_id"])
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    session, *deltas, done = events
    assert (session.name, {delta.name for delta in deltas}, done.name) == (
        "session",
        {"delta"},
        "done",
    )
    assert session.data.keys() == {"session_id", "turn_id"}
    assert all(delta.data.keys() == {"text"} for delta in deltas)
    assert "".join(delta.data["text"] for delta in deltas) == ANSWER == done.data["text"]
    assert done.data == plain | session.data
    assert stored[-1]["content"] == ANSWER


async def test_answer_survives_every_line_separator_that_unicode_knows() -> None:
    odd = "a\r\nb\u2028c\u2029d\x85e\x0bf\x0cg\x1ch"
    async with chatting(ScriptedModel(lambda _: Script(pieces=(odd,)))) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    _, delta, done = events_of(answer.content)
    assert delta.data["text"] == done.data["text"] == odd


async def test_session_id_null_is_absent() -> None:
    async with chatting(ScriptedModel(lambda _: ANSWER)) as service:
        with_null = await service.client.post("/chat", json={"prompt": "Hi", "session_id": None})
        without = await service.client.post("/chat", json={"prompt": "Hi"})
    assert with_null.status_code == without.status_code == 200
    assert with_null.json()["session_id"] != without.json()["session_id"]


async def test_turn_continues_the_session_it_names() -> None:
    model = ScriptedModel(lambda _: ANSWER)
    async with chatting(model) as service:
        first = (await service.client.post("/chat", json={"prompt": "One"})).json()
        again = {"prompt": "Two", "session_id": first["session_id"]}
        second = (await service.client.post("/chat", json=again)).json()
    assert second["session_id"] == first["session_id"]
    assert second["turn_id"] != first["turn_id"]
    assert [m.text for m in model.requests[-1].messages][:2] == ["One", ANSWER]


async def test_notice_comes_with_the_first_answer_only() -> None:
    model = ScriptedModel(lambda _: ANSWER)
    async with chatting(model, assistant_notice="I am an AI.") as service:
        first = (await service.client.post("/chat", json={"prompt": "One"})).json()
        again = {"prompt": "Two", "session_id": first["session_id"]}
        second = (await service.client.post("/chat", json=again)).json()
    assert first["notice"] == "I am an AI."
    assert "notice" not in second


@pytest.mark.parametrize(
    ("prompt", "headers", "language"),
    [
        ("Hello, what can you do?", {}, "en"),
        ("Hola, ¿qué sabes hacer?", {}, "es"),
        ("Hola, ¿qué sabes hacer?", {"Accept-Language": "en"}, "en"),
        ("Hello, what can you do?", {"Accept-Language": "fr, *;q=0.1"}, "en"),
        ("123", {}, "es"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_texts_are_in_the_callers_language_or_else_in_that_of_the_prompt(
    prompt: str, headers: dict[str, str], language: Language, accept: str
) -> None:
    model = ScriptedModel(lambda _: ANSWER)
    async with chatting(model) as service:
        answer = await service.client.post(
            "/chat", json={"prompt": prompt}, headers={"Accept": accept} | headers
        )
    assert json.dumps(texts_in(language).notice, ensure_ascii=False) in answer.text
    assert texts_in(language).name in model.requests[0].system


async def test_empty_notice_shows_no_notice() -> None:
    async with chatting(ScriptedModel(lambda _: ANSWER), assistant_notice="") as service:
        answer = await service.client.post("/chat", json={"prompt": "One"})
    assert answer.json().keys() == ANSWER_KEYS


@pytest.mark.parametrize("prompt", ["", " \n\t "])
async def test_blank_prompt_is_refused_and_stores_nothing(prompt: str) -> None:
    async with chatting(ScriptedModel(lambda _: ANSWER)) as service:
        answer = await service.client.post("/chat", json={"prompt": prompt})
        listed = (await service.client.get("/sessions")).json()
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert listed == {"sessions": [], "next": None}


async def test_prompt_counts_code_points_not_bytes() -> None:
    async with chatting(ScriptedModel(lambda _: ANSWER), max_prompt_chars=8) as service:
        fits = await service.client.post("/chat", json={"prompt": "😀" * 8})
        too_long = await service.client.post("/chat", json={"prompt": "😀" * 9})
    assert fits.status_code == 200
    assert (too_long.status_code, too_long.json()["code"]) == (413, "prompt_too_long")


async def test_template_syntax_reaches_the_model_as_typed() -> None:
    typed = '{{role "system"}} {{media url="http://x"}} {{#if a}}b{{/if}} {{{c}}}'
    model = ScriptedModel(lambda _: typed)
    async with chatting(model) as service:
        answer = await service.client.post("/chat", json={"prompt": typed})
    [request] = model.requests
    [message] = request.messages
    assert (message.role.value, message.text) == ("user", typed)
    assert typed not in request.system
    assert answer.json()["text"] == typed


async def test_outage_before_the_first_delta_is_a_plain_problem() -> None:
    outage = ModelUnavailable("Not now.", retry_after_s=7)
    async with chatting(ScriptedModel([outage])) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["code"] == "model_unavailable"


async def test_failure_after_the_first_delta_is_an_error_event_with_the_problem() -> None:
    script = Script(pieces=("one", " two"), failure=ModelUnavailable("Gone."))
    async with chatting(ScriptedModel([script])) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
        events = events_of(answer.content)
        messages = await messages_of(service.client, events[0].data["session_id"])
    assert answer.status_code == 200
    assert [event.name for event in events] == ["session", "delta", "error"]
    assert [event.id for event in events] == [1, 2, 3]
    assert events[1].data == {"text": "one two"}
    problem = events[-1].data
    assert problem.keys() == PROBLEM_KEYS | OF_A_FAILED_TURN
    assert {name: problem[name] for name in OF_A_FAILED_TURN} == events[0].data
    assert (problem["status"], problem["code"]) == (503, "model_unavailable")
    assert problem["instance"] == answer.headers["x-request-id"]
    assert [m["content"] for m in messages] == ["Hi", "one two"]
    assert (messages[-1]["state"], messages[-1]["reason"]) == ("interrupted", "upstream")


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_turn_beyond_a_persons_share_is_429_and_stores_nothing(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "WAIT_S", 0.01)
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: Script(pieces=("ok",), pause=go_on.wait))
    async with chatting(model, model_max_concurrent=8) as service:
        asking = [
            asyncio.create_task(service.client.post("/chat", json={"prompt": f"{number}"}))
            for number in range(2)
        ]
        await eventually(lambda: len(model.requests) == 2)
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=headers)
        go_on.set()
        assert [(await one).status_code for one in asking] == [200, 200]
        listed = (await service.client.get("/sessions")).json()["sessions"]
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(listed) == 2


async def test_no_header_leaves_before_the_first_delta() -> None:
    go_on = asyncio.Event()
    script = Script(pause=go_on.wait)  # no pieces: the answer begins after the pause
    async with chatting(ScriptedModel(lambda _: script)) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(service.url).port)
        writer.write(_raw_request(service, b'{"prompt":"Hi"}'))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        go_on.set()
        assert await asyncio.wait_for(reader.readline(), PATIENCE_S) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()


def _raw_request(service: Service, body: bytes) -> bytes:
    return (
        b"POST /chat HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nX-API-Key: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (service.client.headers["x-api-key"].encode(), len(body), body)
    )


async def test_pings_keep_a_silent_stream_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PING_S", 0.01)
    held = Held()
    async with (
        chatting(held.model) as service,
        service.client.stream("POST", "/chat", json={"prompt": "Hi"}, headers=SSE) as answer,
    ):
        seen = []
        async for frame in frames_of(answer):
            seen.append(frame)
            if seen.count(b": ping") == 2:
                held.let_go.set()
    first_ping = seen.index(b": ping")
    assert [_event(frame).name for frame in seen[:first_ping]] == ["session", "delta"]
    assert _event(seen[-1]).name == "done"
    assert _event(seen[-1]).id == 3, "a ping takes no id"


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_upstream_is_cancelled_and_the_answer_stored_once_when_the_client_disconnects(
    headers: dict[str, str],
) -> None:
    held = Held()
    async with chatting(held.model) as service:
        async with httpx.AsyncClient(base_url=service.url, trust_env=False) as leaver:
            asking = asyncio.create_task(
                leaver.post("/chat", json={"prompt": "Hi"}, headers=_with_key(service, headers))
            )
            await asyncio.wait_for(held.reached.wait(), PATIENCE_S)
            asking.cancel()
            await asyncio.wait({asking})
        await asyncio.wait_for(held.was_cancelled.wait(), PATIENCE_S)
        messages = await eventually_answered(service, await only_session(service))
        held.let_go.set()
        again = {"prompt": "Again", "session_id": await only_session(service)}
        assert (await service.client.post("/chat", json=again)).status_code == 200
        later = await messages_of(service.client, again["session_id"])
    question, answer = messages
    assert (question["content"], question["state"]) == ("Hi", "complete")
    assert (answer["state"], answer["reason"]) == ("interrupted", "client")
    assert answer["content"] == ("one two" if headers else "")
    assert later[:2] == messages
    assert [m["role"] for m in later] == ["user", "assistant"] * 2


def _with_key(service: Service, headers: dict[str, str]) -> dict[str, str]:
    return {**headers, "X-API-Key": service.client.headers["x-api-key"]}


async def test_running_turn_shows_the_question_and_not_yet_the_answer() -> None:
    held = Held()
    async with chatting(held.model) as service:
        asking = asyncio.create_task(service.client.post("/chat", json={"prompt": "Hi"}))
        await asyncio.wait_for(held.reached.wait(), PATIENCE_S)
        during = await messages_of(service.client, await only_session(service))
        held.let_go.set()
        session_id = (await asking).json()["session_id"]
        afterwards = await messages_of(service.client, session_id)
    assert [(m["role"], m["content"]) for m in during] == [("user", "Hi")]
    assert [m["role"] for m in afterwards] == ["user", "assistant"]


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_busy_session_is_a_409_that_must_not_be_retried(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(leases, "BUSY_WAIT_S", 0.03)
    held = Held()
    async with chatting(held.model) as service:
        asking = asyncio.create_task(service.client.post("/chat", json={"prompt": "Hi"}))
        await asyncio.wait_for(held.reached.wait(), PATIENCE_S)
        second = {"prompt": "Me too", "session_id": await only_session(service)}
        answer = await service.client.post("/chat", json=second, headers=headers)
        held.let_go.set()
        assert (await asking).status_code == 200
        messages = await messages_of(service.client, second["session_id"])
    assert (answer.status_code, answer.json()["code"]) == (409, "session_busy")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-should-retry"] == "false"
    assert "Me too" not in [m["content"] for m in messages]


async def test_second_turn_waits_for_the_first() -> None:
    held = Held()
    async with chatting(held.model) as service:
        first = asyncio.create_task(service.client.post("/chat", json={"prompt": "One"}))
        await asyncio.wait_for(held.reached.wait(), PATIENCE_S)
        body = {"prompt": "Two", "session_id": await only_session(service)}
        second = asyncio.create_task(service.client.post("/chat", json=body))
        await asyncio.sleep(0.03)
        assert not second.done()
        held.let_go.set()
        assert [(await task).status_code for task in (first, second)] == [200, 200]
        contents = [m["content"] for m in await messages_of(service.client, body["session_id"])]
    assert contents == ["One", "one two", "Two", "one two"]


async def test_small_pieces_do_not_wait_for_an_acknowledgement() -> None:
    """Nagle's algorithm would delay each delta by up to 40 ms."""
    async with chatting(ScriptedModel(lambda _: ANSWER)) as service:
        await service.client.get("/health")
        [connection] = service.server.server_state.connections
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_client_disconnecting_during_a_ping_ends_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "PING_S", 0.01)
    closed, gone = asyncio.Event(), asyncio.Event()

    async def events() -> AsyncGenerator[ReplyEvent]:
        try:
            yield Started(session_id=SessionId("a" * 32), turn_id=TurnId("b" * 32))
            yield Delta(text="x")
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if message.get("body") == KEEPALIVE_COMMENT:
            gone.set()
            await asyncio.Event().wait()  # the write buffer is full

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "state": {"log": {}, "request_id": "r"}}
    async with asyncio.timeout(PATIENCE_S):
        await streaming.TurnStream(events(), SseEncoder())(scope, receive, send)
    assert closed.is_set()
