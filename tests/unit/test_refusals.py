"""Refusals of real providers and how they are classified."""

import json
import time
from typing import Any

import pytest

from chatbot.adapters.llm.refusals import MAX_REFUSAL_BYTES, in_band_refusal, refusal_of
from chatbot.domain.errors import ContextTooLong, PromptRefused


def openai(message: str = "No.", **fields: object) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", **fields}}


TOO_LONG: dict[str, tuple[int, Any]] = {
    "OpenAI": (400, openai(code="context_length_exceeded", param="messages")),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested "
            "5000 tokens (4000 in the messages, 1000 in the completion).",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    "vLLM, by max_tokens": (
        400,
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 1024. This model's maximum "
            "context length is 4096 tokens and your request has 3500 input tokens.",
            param="max_tokens",
        ),
    ),
    "llama.cpp": (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (900 tokens) exceeds the available context size (512 tokens)",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 900,
                "n_ctx": 512,
            }
        },
    ),
    "llama.cpp, while it answers": (
        500,
        {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server"}},
    ),
    "LM Studio": (
        400,
        {"error": "The number of tokens to keep is greater than the context length."},
    ),
    "llama.cpp, of embeddings": (
        500,
        openai(
            "input (8002 tokens) is too large to process. increase the physical batch size "
            "(current batch size: 512)"
        ),
    ),
    "Ollama": (400, openai("the input length exceeds the context length")),
    "Anthropic": (
        400,
        {"type": "error", "error": {"type": "invalid_request_error"}}
        | {"message": "prompt is too long: 210000 tokens > 200000 maximum"},
    ),
    "Anthropic, by bytes": (413, {"type": "error", "error": {"type": "request_too_large"}}),
    "Mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with "
            "32768 maximum context length",
            "type": "invalid_request_prompt",
            "code": "3051",
        },
    ),
    "Groq": (413, openai("Request too large for model `x`", code="rate_limit_exceeded")),
    "OpenAI, by the minute": (
        429,
        openai("Request too large for gpt-x on tokens per min (TPM): Limit 9, Requested 10."),
    ),
    "Gemini": (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200000) exceeds the maximum number of "
                    "tokens allowed (1048576).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    "Bedrock": (400, {"message": "Input is too long for requested model."}),
    "LiteLLM": (
        400,
        openai("litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException"),
    ),
    "TGI": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. "
            "Given: 3000 `inputs` tokens and 512 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    "xAI": (400, {"error": "This model's maximum prompt length is 131072 but got 537812."}),
    "DashScope": (400, {"code": "InvalidParameter", "message": "Range of input length is [1, 9]"}),
    "OpenRouter, with the provider's words inside": (
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": json.dumps(openai(code="context_length_exceeded"))},
            }
        },
    ),
    "a proxy in between": (413, "<html>413 Request Entity Too Large</html>"),
}
FILTERED: dict[str, tuple[int, Any]] = {
    "OpenAI": (400, openai(code="content_policy_violation")),
    "OpenAI, a reasoning model": (
        400,
        openai("Invalid prompt: your prompt was flagged as violating our usage policy.")
        | {"code": "invalid_prompt"},
    ),
    "Azure": (
        400,
        openai(
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy.",
            code="content_filter",
            param="prompt",
            innererror={
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
            },
        ),
    ),
    "Azure, by the inner error alone": (
        400,
        {"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
    ),
    "OpenRouter": (
        403,
        {
            "error": {
                "code": 403,
                "message": "x/y requires moderation. Your input was flagged for 'violence'.",
                "metadata": {"reasons": ["violence"], "flagged_input": "..."},
            }
        },
    ),
    "DashScope": (400, openai("Input data may contain inappropriate content.")),
    "DashScope, by code": (400, {"code": "data_inspection_failed", "message": "Failed."}),
    "Moonshot": (
        400,
        openai("The request was rejected because it was considered high risk"),
    ),
    "LiteLLM": (400, openai("litellm.ContentPolicyViolationError: AzureException")),
    "Gemini": (
        400,
        [{"error": {"code": 400, "message": "Blocked.", "details": [{"reason": "SAFETY"}]}}],
    ),
    "Bedrock": (400, {"message": "The guardrail intervened."}),
    "a community's rules": (400, openai("Your text violates our community guidelines.")),
    "by its code alone": (403, {"error": {"code": "content_filter"}}),
    "a guard in front": (422, {"detail": "Prompt was blocked by the content filter."}),
}
OTHERS: dict[str, tuple[int, Any]] = {
    "a parameter": (400, openai("Unsupported parameter: 'max_tokens'", param="max_tokens")),
    "more output than there is context": (
        400,
        openai(
            "`max_tokens` must be at most 8192: it is less than the `context_window`.",
            param="max_tokens",
        ),
    ),
    "a quota": (429, openai("Rate limit reached.", code="rate_limit_exceeded")),
    "an account": (403, openai("Your account has been blocked for a policy violation.")),
    "a key": (401, openai("Incorrect API key: content filter")),
    "an account, by its code": (403, openai("Your account is suspended.", code="account_flagged")),
    "a page of a firewall": (403, '<meta content="text/html"><input>Request blocked by policy.'),
    "a filter that fails": (500, openai(code="content_filter_error")),
    "an outage that speaks of the context": (500, openai("No context window buffer is free.")),
    "the format of gpt-oss": (400, openai("Unexpected tokens.", code="HarmonyError")),
    "a name": (400, openai(code="case_insensitive_name")),
    "a rule of a parameter": (400, openai("The input violates a rule: temperature <= 1.")),
    "what was sent, repeated by the framework": (
        422,
        {
            "detail": [
                {
                    "type": "missing",
                    "msg": "Field required",
                    "input": FILTERED["a guard in front"][1],
                }
            ]
        },
    ),
    "what was generated, repeated by Groq": (
        400,
        openai("Failed to generate JSON.", failed_generation="Your input was blocked: unsafe."),
    ),
    "a filter that is out of order": (503, openai("The content filter is overloaded.")),
    "nothing": (400, ""),
    "no JSON": (400, b"\xff\xfe\x00"),
    "a deep body": (400, "[" * 100_000),
    "null": (400, None),
}


@pytest.mark.parametrize(("status", "body"), TOO_LONG.values(), ids=TOO_LONG)
def test_prompt_that_does_not_fit_is_distinguished_from_other_refusals(
    status: int, body: Any
) -> None:
    assert type(refusal_of(status, body).about_the_prompt()) is ContextTooLong
    assert type(refusal_of(status, json.dumps(body)).about_the_prompt()) is ContextTooLong


@pytest.mark.parametrize(("status", "body"), FILTERED.values(), ids=FILTERED)
def test_prompt_that_is_filtered_is_distinguished_from_other_refusals(
    status: int, body: Any
) -> None:
    assert type(refusal_of(status, json.dumps(body)).about_the_prompt()) is PromptRefused


@pytest.mark.parametrize(("status", "body"), OTHERS.values(), ids=OTHERS)
def test_refusal_for_another_reason_is_not_attributed_to_the_prompt(status: int, body: Any) -> None:
    assert refusal_of(status, body).about_the_prompt() is None


def test_identifiers_are_kept_and_words_are_not() -> None:
    body = openai(
        "SECRET words", code="unsupported_parameter", param="messages[0].role", type="SECRET words"
    )
    refusal = refusal_of(400, json.dumps(body))
    assert (refusal.code, refusal.param) == ("unsupported_parameter", "messages[0].role")
    assert "SECRET" not in repr(refusal)


@pytest.mark.parametrize("code", ["sk-provider-secret", "two words", "x" * 65, "a\nb", "", None])
def test_text_that_is_not_an_identifier_is_not_kept_as_a_code(code: object) -> None:
    assert refusal_of(400, {"error": {"code": code, "param": code}}).code is None
    assert refusal_of(400, {"error": {"code": code, "param": code}}).param is None


def test_validation_error_of_a_framework_names_the_parameter() -> None:
    body = {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "no"}]}
    assert refusal_of(422, body).params == ("stream_options",)


@pytest.mark.parametrize(
    "error",
    [{"message": "prompt " * 150_000, "code": "max_" * 150_000}, {"message": ["["] * 250_000}],
    ids=["words", "texts"],
)
def test_long_refusal_is_classified_quickly(error: object) -> None:
    started = time.process_time()
    assert in_band_refusal({"error": error}).about_the_prompt() is None
    assert time.process_time() - started < 0.3


def test_only_the_start_of_a_refusal_is_examined() -> None:
    body = " " * MAX_REFUSAL_BYTES + json.dumps(openai(code="content_filter"))
    assert refusal_of(400, body).about_the_prompt() is None
