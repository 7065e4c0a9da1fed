"""Importing legacy sessions."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatbot.adapters.storage.legacy_sessions import LegacySessions
from chatbot.domain.chat import MessageRole
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory, MemoryItem, Origin
from chatbot.domain.ports.export import Conversation, Unreadable

OWNER = Owner(kind="client", id="default")
ID = "0123456789abcdef" * 2
STORED: dict[str, Any] = {
    "summary": " Ana asks about holidays. ",
    "structured_memory": {
        "profile": {"name": "Ana", "role": None, "age": 41},
        "preferences": {"language": "es", "tone": "neutral"},
        "facts": ["has a dog 🐕", "  ", "lives in Zürich\u2028"],
        "todos": [f"task {number}" for number in range(50)],
    },
    "messages": [
        {"role": "user", "content": "Hola, soy Ana", "ts": "2025-01-31T09:30:00"},
        {"role": "assistant", "content": "¡Hola!", "ts": "2025-01-31T10:30:01.5+01:00"},
        {"role": "user", "content": "¿Vacaciones?", "ts": 1738316000},
        {"role": "user", "content": "lone \ud800 and NUL \x00"},
        {"role": "model", "content": "Sí", "ts": None},
    ],
}


def write(folder: Path, stored: object, name: str = f"session_{ID}.json") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(stored), "utf-8")
    return path


def read(folder: Path) -> list[Conversation | Unreadable]:
    return list(LegacySessions(folder, OWNER).items())


def reason(folder: Path) -> str:
    [found] = read(folder)
    assert isinstance(found, Unreadable)
    assert found.name == str(next(folder.glob("session_*")))
    return found.reason


def test_id_messages_times_summary_and_memory_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "memory", STORED)
    [found] = read(tmp_path)
    assert isinstance(found, Conversation)
    session, memory = found.session, found.memory
    times = [
        datetime(2025, 1, 31, 9, 30, tzinfo=UTC),
        datetime(2025, 1, 31, 9, 30, 1, 500_000, tzinfo=UTC),
        *[datetime.fromtimestamp(1738316000, UTC)] * 3,
    ]
    assert (session.id, session.owner, session.title) == (ID, OWNER, "Hola, soy Ana")
    assert (session.created_at, session.updated_at) == (times[0], times[-1])
    assert (session.message_count, session.last_seq, session.epoch) == (5, 5, 0)
    assert [message.seq for message in found.messages] == [1, 2, 3, 4, 5]
    assert [message.ts for message in found.messages] == times
    assert [message.content for message in found.messages] == [
        *("Hola, soy Ana", "¡Hola!", "¿Vacaciones?", "lone \ufffd and NUL \ufffd", "Sí"),
    ]
    user, assistant = MessageRole.USER, MessageRole.ASSISTANT
    assert [m.role for m in found.messages] == [user, assistant, user, user, assistant]
    turns = [message.turn_id for message in found.messages]
    assert (turns[0], turns[3]) == (turns[1], turns[4])
    assert len(set(turns)) == 3
    assert memory.summary == "Ana asks about holidays."
    assert (memory.summarized_to, memory.extracted_to, memory.version) == (0, 5, 1)
    assert memory.structured.profile == {
        "name": MemoryItem(value="Ana", origin=Origin.MODEL),
        "age": MemoryItem(value="41", origin=Origin.MODEL),
    }
    assert [item.value for item in memory.structured.facts] == ["has a dog 🐕", "lives in Zürich"]
    assert len(memory.structured.todos) == 50


def test_second_inspection_finds_the_same(tmp_path: Path) -> None:
    write(tmp_path, STORED)
    assert read(tmp_path) == read(tmp_path)


@pytest.mark.parametrize("stored", [{}, {"messages": []}, {"messages": [], "summary": ""}])
def test_empty_session_is_listed(tmp_path: Path, stored: object) -> None:
    write(tmp_path, stored)
    [found] = read(tmp_path)
    assert isinstance(found, Conversation)
    assert (found.session.last_seq, found.session.title, found.memory) == (0, "", Memory())


def test_uuid_is_stored_without_dashes_in_lower_case(tmp_path: Path) -> None:
    write(tmp_path, {}, "session_01234567-89AB-cdef-0123-456789abcdef.json")
    [found] = read(tmp_path)
    assert isinstance(found, Conversation)
    assert found.session.id == ID


@pytest.mark.parametrize(
    ("stored", "reported"),
    [
        ([], "a JSON object was expected"),
        ({"messages": {}}, "messages is not a list"),
        ({"messages": ["hi"]}, "message 1: a JSON object was expected"),
        ({"messages": [{"role": "system", "content": "x"}]}, "message 1: role is not user or"),
        ({"messages": [{"role": "user", "content": 1}]}, "message 1: content is not a text"),
        ({"messages": [{"role": "user", "content": "", "ts": "noon"}]}, "message 1: ts is not a"),
        ({"messages": [{"role": "user", "content": "", "ts": 1e300}]}, "message 1: ts is not a"),
        ({"summary": 3}, "summary is not a text"),
        ({"structured_memory": ["x"]}, "structured_memory is not an object"),
    ],
)
def test_file_in_another_format_is_named_with_the_reason(
    tmp_path: Path, stored: object, reported: str
) -> None:
    write(tmp_path, stored)
    assert reported in reason(tmp_path)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        *((raw, "not JSON") for raw in (b"", b"{", b"[" * 100_000)),
        *((raw, "save it as UTF-8") for raw in (b"\xff\xfe{\0", b'{"summary": "\xf1"}')),
    ],
)
def test_file_that_is_not_json_is_named(tmp_path: Path, raw: bytes, expected: str) -> None:
    write(tmp_path, {}).write_bytes(raw)
    assert expected in reason(tmp_path)


@pytest.mark.parametrize("name", ["demo", "", ID[:-1], ID + "0", "-"])
def test_session_id_that_cannot_be_remembered_is_reported_with_the_fix(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path, {}, f"session_{name}.json")
    assert "32 hexadecimal digits. Fix: copy" in reason(tmp_path)


def test_other_files_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, {}, "users.json")
    write(tmp_path, {}, f"session_{ID}.json.bak")
    assert read(tmp_path) == []
