"""Formats data for the model: one line of JSON inside unguessable delimiters."""

import json
from collections.abc import Iterable, Mapping

from chatbot.domain.memory import StructuredMemory
from chatbot.domain.recall import KnownItem, PastMessage, RecalledPassage

_PARTS = {"profile": "profile", "preference": "preferences", "fact": "facts", "todo": "todos"}


def data_block(content: Mapping[str, object], *, nonce: str) -> str:
    """Return the content as one line of JSON between delimiters that contain the nonce."""
    return f"<data-{nonce}>\n{json_line(content)}\n</data-{nonce}>\n\n"


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


def memory_content(summary: str, items: Iterable[KnownItem]) -> dict[str, object]:
    """Return the summary and the items as the model sees them, without empty parts."""
    keyed: dict[str, dict[str, str]] = {}
    listed: dict[str, list[str]] = {}
    for item in items:
        name = _PARTS[item.kind]
        if item.key is not None:
            keyed.setdefault(name, {})[item.key] = item.text
        else:
            listed.setdefault(name, []).append(item.text)
    memory = {name: keyed.get(name) or listed.get(name) for name in _PARTS.values()}
    found = {name: part for name, part in memory.items() if part}
    content: dict[str, object] = {"summary": summary} if summary else {}
    return content | ({"memory": found} if found else {})


def message_content(message: PastMessage) -> dict[str, object]:
    """Return a message of another session as the model sees it."""
    return {"on": message.ts.date().isoformat(), "by": message.role.value, "text": message.text}


def passage_content(n: int, passage: RecalledPassage) -> dict[str, object]:
    """Return a passage as the model sees it, with the number by which it is cited."""
    heading = {"heading": passage.heading} if passage.heading else {}
    return {"n": n, "title": passage.title, **heading, "text": passage.text}


def json_line(content: Mapping[str, object]) -> str:
    """Return the content as compact JSON on one line."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
