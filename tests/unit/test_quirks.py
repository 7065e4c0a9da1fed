"""Which parameter a refusal names, and how later requests are adapted."""

from typing import Any

import pytest

from chatbot.adapters.llm.quirks import NO_QUIRKS, KnownQuirks, Quirks
from chatbot.adapters.llm.refusals import refusal_of

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ],
    "max_tokens": 77,
    "temperature": 0.3,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "stream": True,
    "stream_options": {"include_usage": True},
}
JOINED = [{"role": "user", "content": "Be kind.\n\na"}, *BODY["messages"][2:]]
AS_DEVELOPER = [{"role": "developer", "content": "Be kind."}, *BODY["messages"][1:]]
MAX_COMPLETION = {"max_tokens": None, "max_completion_tokens": 77}
NO_STREAM = {"stream": None, "stream_options": None}


def error(message: str = "No.", **fields: object) -> Any:
    return {"error": {"message": message, **fields}}


REFUSALS: dict[str, tuple[int, Any, dict[str, Any]]] = {
    "OpenAI, max_tokens": (
        400,
        error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        MAX_COMPLETION,
    ),
    "by its field alone": (400, error(param="max_tokens", code="x"), MAX_COMPLETION),
    "OpenAI, temperature": (
        400,
        error("Only the default (1) value is supported.", param="temperature"),
        {"temperature": None},
    ),
    "OpenAI, reasoning_effort": (
        400,
        error("Unrecognized request argument supplied: reasoning_effort"),
        {"reasoning_effort": None},
    ),
    "xAI": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Model grok-4-0709 does not support parameter reasoningEffort.",
        },
        {"reasoning_effort": None},
    ),
    "OpenAI, streaming without verification": (
        400,
        error("Your organization must be verified to stream this model.", param="stream"),
        NO_STREAM,
    ),
    "OpenAI, o1-mini": (
        400,
        error(
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            param="messages[0].role",
        ),
        {"messages": JOINED},
    ),
    "LM Studio": (
        400,
        {"error": "'response_format.type' must be 'json_schema' or 'text'"},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object"}},
            }
        },
    ),
    "no JSON mode": (
        422,
        {"detail": "JSON mode is not supported by this model."},
        {"response_format": None},
    ),
    "Mistral": (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "no"}]},
        {"stream_options": None},
    ),
    "a gateway, by what is inside": (
        400,
        error("Extra inputs are not permitted: include_usage"),
        {"stream_options": None},
    ),
    "Gemma's template": (500, error("Jinja: System role not supported"), {"messages": JOINED}),
    "Mistral's template": (
        400,
        error("Only user and assistant roles are supported!"),
        {"messages": JOINED},
    ),
    "Gemma at Google": (
        400,
        [error("Developer instruction is not enabled for models/gemma")],
        {"messages": AS_DEVELOPER},
    ),
    "a role that has another name": (
        400,
        error("role 'system' is deprecated: use 'developer'"),
        {"messages": AS_DEVELOPER},
    ),
}
OTHERS: dict[str, tuple[int, Any]] = {
    "nothing named": (400, error("Bad request.")),
    "a parameter that was not sent": (400, error(param="top_k")),
    "a key": (401, error("temperature")),
    "an outage": (503, error("temperature")),
    "an outage that names one": (
        500,
        error("The pool for system message and temperature is full."),
    ),
    "an outage inside an answer": (200, error("Lost the temperature.")),
    "what was sent, repeated": (
        422,
        {"detail": [{"msg": "x", "input": {"a": "JSON mode, temperature"}}]},
    ),
    "a long prompt": (
        400,
        error("maximum context length is 9 tokens: reduce max_tokens or the prompt"),
    ),
    "a filter": (400, error("temperature", code="content_filter")),
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (BODY | changes).items() if value is not None}


@pytest.mark.parametrize(("status", "body", "changes"), REFUSALS.values(), ids=REFUSALS)
def test_parameter_named_by_a_refusal_is_omitted_or_sent_differently(
    status: int, body: Any, changes: dict[str, Any]
) -> None:
    quirks = NO_QUIRKS.after_refusal(refusal_of(status, body), BODY)
    assert quirks is not None
    assert quirks.adapt(BODY) == changed(changes)
    assert str(quirks)


@pytest.mark.parametrize(("status", "body"), OTHERS.values(), ids=OTHERS)
def test_refusal_for_another_reason_changes_nothing(status: int, body: Any) -> None:
    assert NO_QUIRKS.after_refusal(refusal_of(status, body), BODY) is None


def test_limit_that_is_too_high_in_both_forms_is_left_out() -> None:
    refusal = refusal_of(400, error("max_tokens must be less than or equal to 64"))
    quirks = NO_QUIRKS.after_refusal(refusal, BODY)
    assert quirks is not None
    assert quirks.adapt(BODY) == changed(MAX_COMPLETION)
    quirks = quirks.after_refusal(refusal, quirks.adapt(BODY))
    assert quirks is not None
    assert quirks.adapt(BODY) == changed({"max_tokens": None})


def test_refusing_every_message_one_by_one_terminates() -> None:
    quirks: Quirks | None = NO_QUIRKS
    asked = 0
    while quirks is not None:
        last, asked = quirks, asked + 1
        everything = " ".join(["system role", "json_schema", *BODY, "max_completion_tokens"])
        quirks = last.after_refusal(refusal_of(400, error(everything)), last.adapt(BODY))
    assert last.adapt(BODY) == {"model": "m", "messages": JOINED, "stream": True}
    assert asked < 12


def test_configured_quirks_apply_before_any_refusal() -> None:
    configured = Quirks(max_tokens_field="max_completion_tokens", system_role="developer")
    sent = configured.adapt(BODY)
    assert sent == changed(MAX_COMPLETION | {"messages": AS_DEVELOPER})
    refused = configured.after_refusal(refusal_of(400, error(param="max_completion_tokens")), sent)
    assert refused is not None
    assert refused.adapt(BODY) == changed({"messages": AS_DEVELOPER})
    assert Quirks(system_role="none").adapt(BODY) == changed({"messages": JOINED})
    assert Quirks(max_tokens_field="max_tokens").adapt(changed(MAX_COMPLETION)) == BODY


def test_system_text_without_a_user_message_becomes_one() -> None:
    alone = {**BODY, "messages": BODY["messages"][:1]}
    assert Quirks(system_role="none").adapt(alone)["messages"] == [
        {"role": "user", "content": "Be kind."}
    ]


def test_quirks_are_remembered_for_their_model_alone() -> None:
    known = KnownQuirks(Quirks(system_role="developer"))
    other = Quirks(refused=frozenset({"temperature"}))
    known.remember("one", other)
    assert known.of("one") == other
    assert str(other) == "without temperature"
    assert known.of("two") == Quirks(system_role="developer")
