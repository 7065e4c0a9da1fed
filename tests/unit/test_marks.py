"""Citation marks in answers: what is kept and removed, however the answer is split."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.application.marks import Marks, without_marks

KNOWN = (1, 2, 12)
SPLIT_TEXTS = st.text(alphabet="[]12934,` \na.", max_size=60)


def read(pieces: Sequence[str], known: Sequence[int] = KNOWN) -> list[str | int]:
    """What a reader gets, with adjacent texts joined."""
    marks = Marks(known)
    joined: list[str | int] = []
    for found in [each for piece in pieces for each in marks.feed(piece)] + [*marks.end()]:
        if isinstance(found, str) and joined and isinstance(joined[-1], str):
            joined[-1] += found
        else:
            joined.append(found)
    return joined


def text_of(found: Sequence[str | int]) -> str:
    return "".join(each for each in found if isinstance(each, str))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("23 days [1].", ["23 days [1]", 1, "."]),
        ("23 days [1][2]", ["23 days [1]", 1, "[2]", 2]),
        ("23 days [1, 2].", ["23 days [1, 2]", 1, 2, "."]),
        ("23 days [1,9].", ["23 days [1]", 1, "."]),
        ("23 days [9].", ["23 days."]),
        ("23 days [9][1].", ["23 days[1]", 1, "."]),
        ("[9] days", [" days"]),
        ("in [2026], [a] and [1", ["in [2026], [a] and [1"]),
        ("[[9]8]", ["[  8]"]),
        ("[1,[9]2]", ["[1,  2]"]),
        ("twelve [12], never [0]", ["twelve [12]", 12, ", never"]),
    ],
)
def test_marks_that_name_no_passage_are_removed(answer: str, expected: list[str | int]) -> None:
    assert read([answer]) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "write `a[0]` or `b[9]`",
        "```python\nfirst = a[0]\n```\n",
        "````\n```\na[7]\n````",
    ],
)
def test_brackets_in_code_are_no_marks(answer: str) -> None:
    assert read([answer]) == [answer]


def test_code_in_a_line_ends_with_the_line_and_a_block_with_its_fence() -> None:
    assert read(["a ` b [9]\nc [9]"]) == ["a ` b [9]\nc"]
    assert read(["```\na[9]\n```\nb [9]"]) == ["```\na[9]\n```\nb"]


@given(SPLIT_TEXTS, st.randoms(use_true_random=False))
def test_a_reader_gets_the_same_however_the_answer_is_split(
    answer: str, rng: random.Random
) -> None:
    cuts = sorted(rng.choices(range(len(answer) + 1), k=rng.randint(0, 12)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    assert read(pieces) == read([answer])


@given(st.text(alphabet="[]12934, \na.", max_size=60))
def test_no_mark_is_left_that_names_no_passage(answer: str) -> None:
    found = read([answer])
    again = read([text_of(found)])
    assert again == found
    assert without_marks(text_of(found)) == without_marks(without_marks(text_of(found)))


def test_what_may_become_a_mark_is_held_back_until_it_is_one() -> None:
    marks = Marks(KNOWN)
    assert [*marks.feed("days [1")] == ["days"]
    assert [*marks.feed("2")] == []
    assert [*marks.feed("] and")] == [" [12]", 12, " and"]
    assert [*marks.end()] == []
