"""Formats data for the model: one line of JSON inside unguessable delimiters."""

import json
from collections.abc import Mapping
from dataclasses import replace

from chatbot.domain.memory import Memory, StructuredMemory


def data_block(content: Mapping[str, object], *, nonce: str) -> str:
    """Return the content as one line of JSON between delimiters that contain the nonce."""
    return f"<data-{nonce}>\n{json_line(content)}\n</data-{nonce}>\n\n"


def memory_content(memory: Memory) -> dict[str, object]:
    """Return the summary and the structured memory, without empty parts."""
    content: dict[str, object] = {"summary": memory.summary} if memory.summary else {}
    structured = structured_content(memory.structured)
    return content | ({"memory": structured} if structured else {})


def structured_content(known: StructuredMemory) -> dict[str, object]:
    """Return structured memory as the model sees it: values only, without empty parts."""
    values = known.values
    parts: dict[str, object] = {
        "profile": values.profile,
        "preferences": values.preferences,
        "facts": values.facts,
        "todos": values.todos,
    }
    return {name: part for name, part in parts.items() if part}


def shortened(memory: Memory) -> Memory:
    """Return the memory without its oldest fact or task.

    Without facts and tasks it loses its newest key, and without keys half of its summary.
    """
    known = memory.structured
    if len(known.facts) > len(known.todos):
        known = replace(known, facts=known.facts[1:])
    elif known.todos:
        known = replace(known, todos=known.todos[1:])
    elif len(known.preferences) > len(known.profile):
        known = replace(known, preferences=dict([*known.preferences.items()][:-1]))
    elif known.profile:
        known = replace(known, profile=dict([*known.profile.items()][:-1]))
    else:
        return replace(memory, summary=memory.summary[: len(memory.summary) // 2])
    return replace(memory, structured=known)


def json_line(content: Mapping[str, object]) -> str:
    """Return the content as compact JSON on one line."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
