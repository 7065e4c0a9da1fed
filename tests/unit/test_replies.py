"""Memory updates as models write them: what is read from a reply, and what is invalid."""

import json
import time

import pytest

from chatbot.application.replies import read_update, without_thinking
from chatbot.domain.errors import InvalidInput
from chatbot.domain.memory import Update
from chatbot.domain.memory_updates import MAX_NAMES, MAX_UPDATE_ENTRIES

ANA = '{"profile": {"name": "Ana"}}'
NAMED = Update(profile={"name": "Ana"})


@pytest.mark.parametrize(
    "reply",
    [
        ANA,
        f"<think>She is Ana: {{maybe}}.</think>\n{ANA}",
        f'<think>{{"profile": {{"name": "Eva"}}}}</think>{ANA}',
        f"<THINKING>hm</THINKING> {ANA}",
        f"no opening tag of the thinking</think>{ANA}",
        f"```json\n{ANA}\n```",
        f"```JSON\n{ANA}\n```",
        f"~~~\n{ANA}\n~~~",
        f"Sure! Here it is [as asked]: {ANA} Anything else?",
        f"\ufeff{ANA}",
        f"[{ANA}]",
        f'{{"memory": {ANA}}}',
        f'{{"profile": {{"name": "Eva"}}}}\n{ANA}',
        f"{{broken, {ANA}",
    ],
)
def test_an_update_is_read_whatever_is_around_it(reply: str) -> None:
    assert read_update(reply) == NAMED


def test_several_objects_are_one_update_in_their_order() -> None:
    reply = '{"facts": ["a"], "profile": {"name": "Eva"}}\n[{"facts": ["b"]}, {"profile": {"name": "Ana"}}]'
    assert read_update(reply) == Update(profile={"name": "Ana"}, facts=("a", "b"))


def test_operations_are_an_update() -> None:
    entries = [
        {"kind": "profile", "key": "name", "text": "Ana"},
        {"kind": "preference", "key": "tone", "text": "dry"},
        {"kind": "fact", "text": "Likes tea"},
        {"kind": "todo", "text": "call HR", "key": "x"},
        {"kind": "profile", "text": "is a nurse"},
        {"kind": "rights", "key": "admin", "text": "yes"},
        {"kind": "fact", "text": 3},
        "fact",
    ]
    reply = json.dumps({"set": entries, "done": ["call Ben"], "forget": ["role"]})
    assert read_update(reply) == Update(
        profile={"name": "Ana"},
        preferences={"tone": "dry"},
        facts=("Likes tea", "is a nurse"),
        todos=("call HR",),
        forget=("role",),
        done=("call Ben",),
    )


def test_every_part_of_an_update_is_read() -> None:
    parts = {
        "profile": {"name": "Ana"},
        "preferences": {"tone": "dry"},
        "facts": ["a"],
        "todos": ["b"],
        "forget": ["c"],
        "done": ["d"],
    }
    update = read_update(json.dumps(parts))
    assert (update.facts, update.todos, update.forget, update.done) == (
        ("a",),
        ("b",),
        ("c",),
        ("d",),
    )


def test_an_empty_object_is_an_empty_update() -> None:
    assert read_update("{}") == Update()


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no JSON",
        "[]",
        "3",
        '{"facts": [',
        '{"profile": {"name": "Ana"}, "facts": ["cut',
        '{"answer": "There is nothing new."}',
        "[1, 2]",
        f"<think>{ANA}</think>",
        "[" * 100_000,
        '{"a":' * 20_000,
    ],
)
def test_invalid_update_is_refused(reply: str) -> None:
    with pytest.raises(InvalidInput):
        read_update(reply)


def test_reply_full_of_opening_brackets_is_parsed_in_linear_time() -> None:
    began = time.process_time()
    for reply in ('{"a":[' * 50_000, "{" * 200_000, "{ " * 100_000 + ANA):
        with pytest.raises(InvalidInput):
            read_update(reply)
    assert time.process_time() - began < 1


def test_lists_are_bounded_before_they_are_merged() -> None:
    update = read_update(json.dumps({"facts": [str(n) for n in range(5000)], "done": ["x" * 9000]}))
    assert len(update.facts) == MAX_UPDATE_ENTRIES
    assert update.facts[-1] == "4999"
    assert len(update.done[0]) == 1000


def test_lists_of_many_objects_are_bounded_together() -> None:
    parts = [{"facts": [str(n)], "forget": [str(n)], "profile": {str(n): "x"}} for n in range(1000)]
    update = read_update(json.dumps(parts))
    assert (update.facts[-1], update.forget[-1]) == ("999", "999")
    counts = [len(update.facts), len(update.forget), len(update.profile)]
    assert counts == [MAX_UPDATE_ENTRIES, MAX_NAMES, MAX_UPDATE_ENTRIES]

    read = read_update(json.dumps([{"done": [str(n)] * MAX_NAMES} for n in range(100)]))
    assert read.done == ("99",) * MAX_NAMES


def test_text_without_thinking_stays_as_it_is() -> None:
    assert without_thinking(" a < b ") == "a < b"
