"""Prompts and answers as attributes, in the JSON of the conventions. Only used on request."""

import json

from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.encoding import Value
from chatbot.adapters.telemetry.tracing import Attributes
from chatbot.domain.ports.model import Completion, ModelRequest


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def content_of_request(request: ModelRequest) -> Attributes:
    messages = [{"role": str(m.role), "parts": [_part(m.text)]} for m in request.messages]
    found: dict[str, Value] = {names.INPUT_MESSAGES: json.dumps(messages, ensure_ascii=False)}
    if request.system:
        instructions = [_part(request.system)]
        found[names.SYSTEM_INSTRUCTIONS] = json.dumps(instructions, ensure_ascii=False)
    return found


def content_of_answer(completion: Completion) -> Attributes:
    answer = {
        "role": "assistant",
        "parts": [_part(completion.text)],
        "finish_reason": str(completion.finish_reason),
    }
    return {names.OUTPUT_MESSAGES: json.dumps([answer], ensure_ascii=False)}
