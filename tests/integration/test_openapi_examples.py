"""Every call is documented with examples, and they are what the service takes and answers."""

import json
from typing import Any

import pytest

import openapi_document
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints.http import wire
from service import SSE, serving

Json = dict[str, Any]
DOCUMENT = openapi_document.document()
CALLS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def examples_of(content: Json) -> list[Any]:
    named = [one["$ref"].rpartition("/")[2] for one in content.get("examples", {}).values()]
    known = DOCUMENT["components"]["examples"]
    single = [content["example"]] if "example" in content else []
    return single + [known[name]["value"] for name in named]


def check(content: Json) -> None:
    """There is an example, and its schema knows all that it says."""
    found = examples_of(content)
    assert found
    for example in found:
        model = getattr(wire, content["schema"]["$ref"].rpartition("/")[2])
        assert model.model_validate(example).model_dump(mode="json", exclude_unset=True) == example


def form(value: object) -> object:
    """The keys of an object and of the objects in it."""
    return {key: form(one) for key, one in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize("call", CALLS)
def test_every_body_and_answer_has_an_example_of_its_schema(call: str) -> None:
    operation = CALLS[call]
    if "requestBody" in operation:
        check(operation["requestBody"]["content"]["application/json"])
    for answer in operation["responses"].values():
        for media_type, content in answer["content"].items():
            if media_type != "text/event-stream":
                check(content)


def test_every_example_of_a_problem_belongs_to_a_call() -> None:
    used = {
        code
        for operation in CALLS.values()
        for code in operation["responses"]["default"]["content"]["application/problem+json"][
            "examples"
        ]
    }
    assert used == DOCUMENT["components"]["examples"].keys()


async def test_every_example_is_taken_and_answered_in_the_form_of_its_answer() -> None:
    login = CALLS["POST /auth/login"]["requestBody"]["content"]["application/json"]["example"]
    async with serving(model=ScriptedModel(lambda _: "Of course.")) as service:
        await service.add_admin(**login)
        bearer = await service.bearer(**login)
        for call, operation in CALLS.items():
            method, path = call.split(" ")
            turn = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
            body = operation.get("requestBody", {"content": {"application/json": {}}})
            answer = await service.client.request(
                method,
                path.replace("{session_id}", turn.json()["session_id"]),
                json=body["content"]["application/json"].get("example"),
                headers=bearer,
            )
            [documented] = [code for code in operation["responses"] if code != "default"]
            example = operation["responses"][documented]["content"]["application/json"]["example"]
            assert answer.status_code == int(documented), call
            assert form(answer.json()) == form(example), call


async def test_example_of_the_stream_has_its_events() -> None:
    operation = CALLS["POST /chat"]
    example = operation["responses"]["200"]["content"]["text/event-stream"]["example"]
    async with serving(model=ScriptedModel(lambda _: "Of course.")) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    told, said = (events_of(text) for text in (example, answer.text))
    assert {name: form(data) for name, data in told} == {name: form(data) for name, data in said}
    assert told[-1] == (
        "done",
        operation["responses"]["200"]["content"]["application/json"]["example"],
    )


def events_of(text: str) -> list[tuple[str, Any]]:
    frames = [
        dict(line.split(": ", 1) for line in frame.splitlines()) for frame in text.split("\n\n")
    ]
    return [(frame["event"], json.loads(frame["data"])) for frame in frames if frame]
