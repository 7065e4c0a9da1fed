"""`make provider` gives a person who tries the service a plausible assistant."""

import asyncio
import json
import time

import httpx
import pytest

from chatbot.entrypoints.settings import Settings
from service import SSE, serving, settings_for_tests
from stand_in import MODEL, StandIn, assistant_reply

PAUSE_S = 0.01


def settings(provider: StandIn, **given: object) -> Settings:
    return settings_for_tests(
        openai_base_url=provider.base_url, genkit_model=f"openai/{MODEL}", **given
    )


async def test_a_conversation_in_two_languages_shows_no_block_of_the_prompt() -> None:
    async with StandIn(pause_s=0) as provider, serving(settings(provider)) as service:
        session = (await service.client.post("/sessions/new")).json()["session_id"]

        async def ask(prompt: str) -> str:
            body = {"prompt": prompt, "session_id": session}
            return str((await service.client.post("/chat", json=body)).json()["text"])

        assert await ask("hola soy carmen de nominas") == (
            "Anotado, Carmen:\n- nombre: Carmen\n- departamento: nominas"
        )
        assert await ask("remind me to call the bank") == "Noted, Carmen:\n- call the bank"
        assert await ask("¿cómo me llamo?") == "Te llamas Carmen."
        assert await ask("the printer makes a noise") == "OK, Carmen."


async def test_embedded_model_extracts_memory_and_writes_a_summary() -> None:
    given = {"mem_extract_every": 1, "mem_summarize_threshold": 4, "mem_window_messages": 2}
    async with StandIn(pause_s=0) as provider, serving(settings(provider, **given)) as service:
        session = (await service.client.post("/sessions/new")).json()["session_id"]
        for prompt in ("hi im dave", "I live in Leeds", "pls remind me to call HR"):
            body = {"prompt": prompt, "session_id": session}
            assert (await service.client.post("/chat", json=body)).status_code == 200
        for _ in range(200):
            found = (await service.client.get(f"/sessions/{session}")).json()
            memory = found["structured_memory"]
            if memory["todos"] and "Leeds" in found["summary"]:
                break
            await asyncio.sleep(0.02)
    assert memory["profile"]["name"] == "Dave"
    assert memory["facts"] == ["I live in Leeds"]
    assert memory["todos"] == ["call HR"]
    assert "I live in Leeds." in found["summary"]
    assert "<data-" not in json.dumps(found)


async def test_embedded_model_streams_word_by_word_with_a_pause() -> None:
    async with StandIn(pause_s=PAUSE_S) as provider, serving(settings(provider)) as service:
        body = {"prompt": "who are you?"}
        async with service.client.stream("POST", "/chat", json=body, headers=SSE) as answer:
            lines = answer.aiter_lines()
            arrivals = [time.monotonic() async for line in lines if line == "event: delta"]
    assert len(arrivals) >= 5
    assert arrivals[-1] - arrivals[0] >= 4 * PAUSE_S


async def test_base_url_without_v1_is_refused_and_the_correct_url_is_suggested(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with StandIn(pause_s=0) as provider, httpx.AsyncClient(trust_env=False) as client:
        root = provider.base_url.removesuffix("/v1")
        answers = [
            await client.get(f"{root}/models"),
            await client.post(f"{root}/chat/completions", json={}),
            await client.get(f"{root}/v1x/models"),
        ]
        listed = (await client.get(f"{provider.base_url}/models")).json()
    for answer in answers:
        assert answer.status_code == 404
        assert f"OPENAI_BASE_URL={provider.base_url}" in answer.json()["error"]["message"]
    assert capsys.readouterr().err.count(f"set OPENAI_BASE_URL={provider.base_url}") == 3
    assert [each["id"] for each in listed["data"]] == [MODEL]


def test_the_block_is_found_behind_a_system_text_and_in_parts() -> None:
    block = (
        '<data-0123456789abcdef>\n{"memory":{"profile":{"name":"Ana"}}}\n</data-0123456789abcdef>'
    )
    text = f"You are an assistant.\n\n{block}\n\nwhat's my name?"
    for content in (text, [{"type": "text", "text": text}]):
        body = {"messages": [{"role": "user", "content": content}]}
        assert assistant_reply(body) == "Your name is Ana."
    assert assistant_reply({"messages": []}) == ""
