"""How many facts the embedded model learns from what users say, and how many it invents.

`labelled/es.txt` and `en.txt` hold 300 sentences each, written before the patterns. A line is the
sentence, then ` || ` and what is to be learnt: `kind: value`, several with ` | ` between. The
patterns were tuned on two of three lines; every third is held out and shows how they generalise.
`chat_es.txt` and `chat_en.txt` hold what employees type in a chat, some with a third part: what is
remembered when they type it.
"""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatbot.adapters.llm.extractive import answer
from chatbot.adapters.llm.extractive.learning import stems
from memory_operations import classic

FOLDER = Path(__file__).with_name("labelled")
LISTS = {"facts": "fact", "todos": "todo", "forget": "forget", "done": "done"}
EXACT = {"name", "full_name", "language"}
REFERENCES = {"forget", "done"}  # name something that is stored: some of its words will do
LIKE = 0.5  # of the meaningful words have to be the same

Item = tuple[str, str]


@dataclass(frozen=True)
class Labelled:
    text: str
    expected: tuple[Item, ...] = ()
    remembered: tuple[Item, ...] = ()


def read(name: str) -> list[Labelled]:
    sentences = []
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        text, *labels = (part.strip() for part in f"{line} ".split("|| "))
        sentences.append(Labelled(text, *map(items, labels)))
    return sentences


def items(labels: str) -> tuple[Item, ...]:
    pairs = [label.split(": ", 1) for label in re.split(r" \| |; ", labels) if label]
    return tuple((kind.strip(), value.strip()) for kind, value in pairs)


def learnt(text: str, remembered: tuple[Item, ...] = ()) -> list[Item]:
    memory = {
        "profile": {kind: value for kind, value in remembered if kind not in ("fact", "todo")},
        "facts": [value for kind, value in remembered if kind == "fact"],
        "todos": [value for kind, value in remembered if kind == "todo"],
    }
    content = {"memory": memory, "messages": [{"seq": 1, "text": text}]}
    block = json.dumps(content, ensure_ascii=False)
    prompt = f"<data-0123456789abcdef>\n{block}\n</data-0123456789abcdef>"
    update = classic(json.loads(answer("extract_memory", [("user", prompt)])))
    keyed = update.get("profile", {}) | update.get("preferences", {})
    listed = [(kind, each) for part, kind in LISTS.items() for each in update.get(part, [])]
    return [each for each in (*keyed.items(), *listed) if each not in remembered]


def is_alike(one: Item, other: Item) -> bool:
    if one[0] != other[0] or one[0] in EXACT:
        return one == other
    words, others = stems(one[1]) or {one[1]}, stems(other[1]) or {other[1]}
    whole = min(len(words), len(others)) if one[0] in REFERENCES else len(words | others)
    return len(words & others) / whole >= LIKE


@dataclass
class Score:
    missed: list[str]
    junk: list[str]
    expected: int
    sentences: int

    @property
    def recall(self) -> float:
        return 1 - len(self.missed) / self.expected

    @property
    def junk_share(self) -> float:
        return len(self.junk) / self.sentences

    def __str__(self) -> str:
        return (
            f"{self.sentences} sentences, recall {self.recall:.1%} of {self.expected}, "
            f"junk in {self.junk_share:.1%}"
        )


def score(sentences: list[Labelled]) -> Score:
    missed, junk = [], []
    for sentence in sentences:
        found = learnt(sentence.text, sentence.remembered)
        missed += [
            f"{sentence.text!r}: {item}"
            for item in sentence.expected
            if not any(is_alike(item, each) for each in found)
        ]
        extra = [each for each in found if not any(is_alike(each, x) for x in sentence.expected)]
        junk += [f"{sentence.text!r}: {extra}"] if extra else []
    expected = sum(len(sentence.expected) for sentence in sentences)
    return Score(missed, junk, expected, len(sentences))


@pytest.mark.parametrize("part", ["tuned", "held out"])
@pytest.mark.parametrize("language", ["es", "en"])
def test_rules_learn_four_of_five_facts_and_invent_almost_none(
    language: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = read(language)
    kept = [x for n, x in enumerate(sentences) if (n % 3 == 2) == (part == "held out")]
    result = score(kept)
    with capsys.disabled():
        print(f"\n{language}, {part}: {result}")  # noqa: T201 - the figures are what it is for
    details = "" if part == "held out" else f"\nmissed: {result.missed}\njunk: {result.junk}"
    assert result.recall >= 0.8, details
    assert result.junk_share <= 0.03, details


@pytest.mark.parametrize("language", ["es", "en"])
def test_original_sentence_set_is_still_understood(language: str) -> None:
    result = score(read(f"older_{language}"))
    assert result.recall >= 0.9, result.missed
    assert result.junk_share <= 0.05, result.junk


@pytest.mark.parametrize("language", ["es", "en"])
def test_chat_commands_are_recognized(language: str) -> None:
    result = score(read(f"chat_{language}"))
    assert result.recall >= 0.9, result.missed
    assert result.junk_share <= 0.03, result.junk


@pytest.mark.parametrize("language", ["es", "en"])
def test_labelled_sets_are_large_and_a_third_of_each_contains_no_fact(language: str) -> None:
    sentences = read(language)
    assert len(sentences) >= 300
    assert len({re.sub(r"\W", "", each.text.lower()) for each in sentences}) == len(sentences)
    assert sum(not each.expected for each in sentences) >= 90


def test_a_rule_that_learns_everything_would_fail() -> None:
    assert not is_alike(("name", "Ana"), ("name", "Eva"))
    assert not is_alike(("todo", "llamar al banco"), ("fact", "llamar al banco"))
    assert not is_alike(("fact", "vivo en Lugo"), ("fact", "trabajo en Sevilla"))


@pytest.mark.parametrize("language", ["es", "en"])
def test_repeated_sentences_take_linear_time(language: str) -> None:
    slowest = 0.0
    for sentence in read(language)[::4]:
        for piece in (sentence.text, f"{sentence.text} ", f"{sentence.text}, ", sentence.text[:9]):
            text = (piece * 1500)[:1500]
            started = time.thread_time()
            learnt(text)
            slowest = max(slowest, time.thread_time() - started)
    assert slowest < 0.25  # measured: 0.03 s
