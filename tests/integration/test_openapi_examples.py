"""Every call is documented with examples that the service accepts and returns."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, ValidationError

import openapi_document
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.identity import Owner
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.permissions import DEFAULT_ROLES, Role
from chatbot.domain.person_memory import ItemState
from chatbot.domain.quotas import Period
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import random_id
from chatbot.entrypoints.http.errors import example_of
from chatbot.entrypoints.http.problem import PROBLEM
from person_memories import role, with_new
from plain_extractor import PlainExtractor
from service import HOST, SSE, Service, serving

Json = dict[str, Any]
JSON = "application/json"
DOCUMENT = openapi_document.document()
COMPONENTS = DOCUMENT["components"]
CALLS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def resolved(found: Json) -> Json:
    """Resolve a reference; return anything else unchanged."""
    while "$ref" in found:
        _, _, kind, name = found["$ref"].split("/")
        found = COMPONENTS[kind][name]
    return found


def examples_of(content: Json) -> list[Any]:
    named = [resolved(one)["value"] for one in content.get("examples", {}).values()]
    single = [content["example"]] if "example" in content else []
    return single + named + list(resolved(content["schema"]).get("examples", []))


def check(content: Json) -> None:
    """Check that examples exist and match their schema without extra fields."""
    found = examples_of(content)
    assert found
    schema = content["schema"] | {"components": COMPONENTS}
    fields = resolved(content["schema"].get("allOf", [content["schema"]])[0]).get("properties", {})
    for example in found:
        Draft202012Validator(schema).validate(example)
        assert not isinstance(example, dict) or example.keys() <= fields.keys()


def form(value: object) -> object:
    """The keys of an object and of the objects in it; those of counts may be any."""
    if isinstance(value, dict) and all(isinstance(one, int) for one in value.values()):
        return {}
    return {key: form(one) for key, one in value.items()} if isinstance(value, dict) else None


def success_of(call: str) -> tuple[int, Json]:
    """The status and the response of a successful call."""
    [found] = [
        (int(status), one) for status, one in CALLS[call]["responses"].items() if status < "3"
    ]
    return found


@pytest.mark.parametrize("call", CALLS)
def test_every_body_and_answer_has_an_example_of_its_schema(call: str) -> None:
    operation = CALLS[call]
    if "requestBody" in operation:
        check(operation["requestBody"]["content"][JSON])
    for response in operation["responses"].values():
        for content in resolved(response)["content"].values():
            check(content)


def test_example_that_violates_its_schema_is_detected() -> None:
    reference = {"$ref": "#/components/schemas/SummaryBody"}
    for wrong in ({}, {"summary": 1}, {"summary": "", "other": 1}):
        with pytest.raises(ValidationError):
            check({"schema": reference, "example": wrong})


def test_every_component_is_used() -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "responses", "examples"):
        for name in COMPONENTS[kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


FOR_KEYS = {"GET /metrics"}
"""Calls that no person may make: `test_api_metrics.py` makes it."""


def test_every_reference_leads_to_a_component() -> None:
    def visit(found: object) -> None:
        if isinstance(found, dict):
            resolved(found)
            found = list(found.values())
        for one in found if isinstance(found, list) else []:
            visit(one)

    visit(DOCUMENT)


def test_every_example_of_an_error_has_a_detail() -> None:
    for code, example in COMPONENTS["examples"].items():
        assert example["value"]["code"] == code
        assert example["value"]["detail"].endswith("."), code


def test_error_of_an_unknown_kind_can_be_documented() -> None:
    class Unmapped(Exception):  # a new error without a mapping
        sentence = ""

    details = example_of(Unmapped)  # type: ignore[arg-type] # not one of ours, on purpose
    assert PROBLEM.body(details, "id")["code"] == "internal_error"


LIMIT = Limit(
    id="sales-monthly",
    subject=Subject.DEPARTMENT,
    name="sales",
    kind=LimitKind.TOKENS,
    per=Period.MONTH,
    limit=1,
    model="openai/other",
)


async def item_for(service: Service, call: str, email: str) -> str:
    """An item of the person's memory, with an earlier version; a pending one to be confirmed."""

    def stored(tx: Transaction) -> str:
        user = tx.users.by_email(email)
        assert user is not None
        owner = Owner(kind="user", id=user.id)
        state = ItemState.PENDING if call.endswith("/confirm") else ItemState.ACTIVE
        new = [replace(role(f"{random_id()}"), state=state), replace(role("x"), state=state)]
        memory = tx.person_memories.change(owner, lambda known: with_new(*new, memory=known))
        return memory.items[-1].id

    return await service.use.storage.transact(stored)


async def test_every_example_is_accepted_and_answered_in_the_form_of_its_answer() -> None:
    def example(content: Json) -> Any:
        return examples_of(content)[0]

    login = dict(example(CALLS["POST /auth/login"]["requestBody"]["content"][JSON]))
    model, extractor = ScriptedModel(lambda _: "Of course."), PlainExtractor()
    async with serving(model=model, extractor=extractor) as service:
        await service.add_admin(**login)
        await service.use.storage.transact(lambda tx: give_all_roles(tx, login["email"]))
        leaver = "leaver@example.com"
        await service.add_user(leaver, password=login["password"])
        await service.use.roles.put(HOST, Role(name="team_lead", permissions=frozenset()))
        await service.use.limits.put(HOST, LIMIT)
        for call, operation in CALLS.items():
            if call in FOR_KEYS:
                continue
            who = login | {"email": leaver} if call == "DELETE /me" else login
            tokens = (await service.client.post("/auth/login", json=who)).json()
            bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
            turn = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
            method, path = call.split(" ")
            ids = {
                "session_id": turn.json()["session_id"],
                "turn_id": turn.json()["turn_id"],
                "key_id": (await service.add_key()).line.id,
                "user_id": (await service.add_user(f"{random_id()}@example.com")).id,
                "name": "team_lead",
                "limit_id": LIMIT.id,
                "document_id": await ready_document(service, bearer),
                "item_id": await item_for(service, call, login["email"]),
            }
            has_body = "requestBody" in operation
            body = example(operation["requestBody"]["content"][JSON]) if has_body else None
            if body and "refresh_token" in body:
                body = body | {"refresh_token": tokens["refresh_token"]}
            answer = await service.client.request(
                method, path.format_map(ids), json=body, headers=bearer
            )
            status, documented = success_of(call)
            assert answer.status_code == status, call
            media_type = answer.headers["content-type"].partition(";")[0]
            expected = form(example(documented["content"][media_type]))
            assert media_type != JSON or form(answer.json()) == expected, call
            login["password"] = (body or {}).get("new_password", login["password"])


async def test_example_of_the_stream_has_the_events_of_a_real_one() -> None:
    _, response = success_of("POST /chat")
    example = response["content"]["text/event-stream"]["example"]
    async with serving(model=ScriptedModel(lambda _: "Of course.")) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    documented, sent = (events_of(text) for text in (example, answer.text))
    forms = {name: form(data) for name, data in documented}
    assert forms.items() >= {name: form(data) for name, data in sent}.items()
    assert forms.keys() - dict(sent).keys() == {"memory", "citation"}
    assert documented[-1] == ("done", examples_of(response["content"][JSON])[0])


async def ready_document(service: Service, headers: dict[str, str]) -> str:
    """The id of a new document, once all that were uploaded can be searched."""
    body = {"title": "Receipts", "text": f"Receipts are due: {random_id()}", "labels": ["policies"]}
    answer = await service.client.post("/documents", json=body, headers=headers)
    while await service.use.storage.transact(lambda tx: tx.documents.has_jobs()):
        await service.use.ingestion.work_once()
        await asyncio.sleep(0.001)
    return str(answer.raise_for_status().json()["document"]["id"])


def give_all_roles(tx: Transaction, email: str) -> None:
    user = tx.users.by_email(email)
    assert user is not None
    tx.users.replace(replace(user, roles=tuple(DEFAULT_ROLES)), old=user, roles=DEFAULT_ROLES)


def events_of(text: str) -> list[tuple[str, Any]]:
    frames = [
        dict(line.split(": ", 1) for line in frame.splitlines()) for frame in text.split("\n\n")
    ]
    return [(frame["event"], json.loads(frame["data"])) for frame in frames if frame]
