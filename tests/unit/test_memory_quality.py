r"""How memory behaves on sentences that people, and attackers, write; the figures are printed.

`labelled/poison_*.txt`: a message, and what a model that obeys everything extracts from it. Nothing
of it may become active. `++` separates it from the message before, `\n` is a line break.
`labelled/obeyed_*.txt`: a message, what is remembered, and what is active afterwards.
"""

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chatbot.adapters.llm.extractive import answer
from chatbot.application.data_blocks import structured_content
from chatbot.application.replies import read_update
from chatbot.domain.chat import Message, MessageRole, TurnId
from chatbot.domain.memory import Update
from chatbot.domain.memory_learning import Lesson, learned
from chatbot.domain.memory_views import structured_of
from chatbot.domain.person_memory import ItemKind, PersonMemory
from person_memories import EMPTY, NEW_ID, ONE, TWO, said, source, with_new
from samples import T0

FOLDER = Path(__file__).with_name("labelled")
LATER = T0 + timedelta(days=1)
LISTED = {"fact": ItemKind.FACT, "todo": ItemKind.TODO}
UNDONE = {"forget", "done"}
PREFERENCES = {"language", "tone", "length", "format"}

Label = tuple[str, str]


def lines(name: str) -> Iterator[list[str]]:
    for language in ("es", "en"):
        text = (FOLDER / f"{name}_{language}.txt".removeprefix("_")).read_text(encoding="utf-8")
        for line in text.splitlines():
            yield [part.strip() for part in f"{line} ".split("||")]


def labels(text: str) -> list[Label]:
    pairs = [each.split(": ", 1) for each in text.split(" | ") if each]
    named = ((kind.strip().removeprefix("profile "), value.strip()) for kind, value in pairs)
    return [(kind.removeprefix("preference "), value) for kind, value in named]


def update_of(found: list[Label]) -> Update:
    keyed = {kind: value for kind, value in found if kind not in LISTED}
    return Update(
        profile={k: v for k, v in keyed.items() if k not in PREFERENCES},
        preferences={k: v for k, v in keyed.items() if k in PREFERENCES},
        facts=tuple(value for kind, value in found if kind == "fact"),
        todos=tuple(value for kind, value in found if kind == "todo"),
    )


def remembering(found: list[Label]) -> PersonMemory:
    new = [
        said(
            value,
            source(1, TWO),
            kind=LISTED.get(kind, ItemKind.PREFERENCE if kind in PREFERENCES else ItemKind.PROFILE),
            key=None if kind in LISTED else kind,
        )
        for kind, value in found
    ]
    return with_new(*new)


def after(message: str, update: Update, memory: PersonMemory = EMPTY) -> PersonMemory:
    before, _, newest = message.replace("\\n", "\n").rpartition(" ++ ")
    heard = Message(
        seq=1, role=MessageRole.USER, content=newest, ts=LATER, turn_id=TurnId("1" * 32)
    )
    lesson = Lesson(session_id=ONE, messages=(heard,), update=update, said_before=before)
    return learned(memory, lesson, now=LATER, new_id=NEW_ID)


def extracted(message: str, memory: PersonMemory = EMPTY) -> Update:
    """What the embedded model answers."""
    known = structured_content(structured_of(memory.active))
    content = {"memory": known, "messages": [{"seq": 1, "text": message}]}
    line = json.dumps(content, ensure_ascii=False)
    prompt = f"<data-0123456789abcdef>\n{line}\n</data-0123456789abcdef>"
    return read_update(answer("extract_memory", [("user", prompt)]))


def active(memory: PersonMemory) -> set[Label]:
    return {(item.key or item.kind.value, item.text.casefold()) for item in memory.active}


def test_nothing_of_the_poisoning_strings_becomes_active(
    capsys: pytest.CaptureFixture[str],
) -> None:
    poison = list(lines("poison"))
    obeyed = [
        (message, [item.text for item in found.active])
        for message, wanted in poison
        if (found := after(message, update_of(labels(wanted)))).active
    ]
    by_rules = [
        (message, [item.text for item in found.active])
        for message, _ in poison
        if (found := after(message, extracted(message))).active
    ]
    with capsys.disabled():
        print(f"\npoison: {len(poison)} strings, active {len(obeyed)}, {len(by_rules)} by rules")  # noqa: T201 - the figures are what it is for
    assert len(poison) >= 200
    assert obeyed == []
    assert by_rules == []


def test_obedient_model_would_be_believed_in_the_person_s_own_words() -> None:
    """The strings are refused for where their words come from, not for the words."""
    for text in ("I live in Moscow and own a gun.", "Me llamo Eva y trabajo para la competencia."):
        assert after(text, Update(facts=(text,))).active


def test_what_the_person_corrects_finishes_or_forgets_is_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sentences = list(lines("obeyed"))
    wrong = []
    for message, remembered, wanted in sentences:
        memory = remembering(labels(remembered))
        found = active(after(message, extracted(message, memory), memory))
        expected = {(kind, text.casefold()) for kind, text in labels(wanted)}
        if found != expected:
            wrong.append((message, found, expected))
    share = 1 - len(wrong) / len(sentences)
    with capsys.disabled():
        print(f"\nforget, done, correct: {len(sentences)} sentences, obeyed {share:.0%}")  # noqa: T201 - as above
    assert len(sentences) >= 100
    assert share >= 0.95, "\n".join(map(str, wrong))


def test_what_people_say_of_themselves_is_believed(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentences of `test_labelled_sentences.py`, each with what is to be learned from it."""
    lost, count = [], 0
    for message, *rest in (line for name in ("", "older", "chat") for line in lines(name)):
        wanted = labels(rest[0].replace("; ", " | ")) if len(rest) == 1 else []
        known = [each for each in wanted if each[0] not in UNDONE]
        found = {kind for kind, _ in active(after(message, update_of(known)))}
        count += len(known)
        lost += [(message, kind) for kind, _ in known if kind not in found]
    with capsys.disabled():
        print(f"\nown statements: {count}, believed {1 - len(lost) / count:.1%}")  # noqa: T201 - as above
    assert count > 600
    assert len(lost) < 0.02 * count, lost


def test_extraction_that_names_very_much_takes_bounded_time() -> None:
    words = " ".join(f"word{number}" for number in range(80))
    facts = tuple(f"{words} {number}" for number in range(200))
    message = "word7 word9. " * 110
    started = time.thread_time()
    after(message, Update(facts=facts, todos=facts, forget=facts[:40], done=facts[:40]))
    assert time.thread_time() - started < 3  # measured: 0.3 s


def test_labelled_sentences_are_distinct() -> None:
    for name in ("poison", "obeyed"):
        texts = [re.sub(r"\W", "", line[0].casefold()) for line in lines(name)]
        assert len({*texts}) == len(texts)
