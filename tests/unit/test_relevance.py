"""What is searched for in a turn, and which hits are relevant enough."""

import pytest

from chatbot.application.relevance import Query, excerpt, queries_for
from chatbot.domain.search import Hit, Reason

HOLIDAYS = "How many days of holidays do employees get?"
VACACIONES = "¿Cuántos días de vacaciones tienen los empleados?"


def words(prompt: str, *before: str) -> list[set[str]]:
    return [set(query.words) for query in queries_for(prompt, before)]


@pytest.mark.parametrize(
    ("prompt", "before", "expected"),
    [
        ("and for managers?", HOLIDAYS, {"managers", "days", "holidays", "employees"}),
        ("¿y para los gerentes?", VACACIONES, {"gerentes", "dias", "vacaciones", "empleados"}),
        ("What about interns?", HOLIDAYS, {"interns", "days", "holidays", "employees"}),
        ("¿Y eso?", VACACIONES, {"dias", "vacaciones", "empleados"}),
        ("Are they paid?", HOLIDAYS, {"paid", "days", "holidays", "employees"}),
        ("why?", HOLIDAYS, {"days", "holidays", "employees"}),
    ],
)
def test_follow_up_is_searched_with_the_question_before(
    prompt: str, before: str, expected: set[str]
) -> None:
    assert words(prompt, before) == [expected]
    assert [query.is_with_previous for query in queries_for(prompt, [before])] == [True]


def test_chain_of_follow_ups_reaches_back_to_the_question_that_needs_no_other() -> None:
    [found] = words("and in France?", "and for managers?", HOLIDAYS, "Where do I park?")
    assert found == {"france", "managers", "days", "holidays", "employees"}


@pytest.mark.parametrize("prompt", [HOLIDAYS, VACACIONES, "expense report deadline march"])
def test_whole_question_is_searched_alone(prompt: str) -> None:
    assert words(prompt, "Where do I park my car?") == words(prompt)
    assert len(words(prompt)) == 1


def test_short_question_is_searched_alone_and_with_the_one_before() -> None:
    assert words("¿Cuánto dura?", VACACIONES) == [
        {"dura"},
        {"dura", "dias", "vacaciones", "empleados"},
    ]
    assert words("¿Cuánto dura?") == [{"dura"}]


@pytest.mark.parametrize(
    "prompt",
    ["hello", "¡Hola! ¿qué tal?", "Thanks!", "gracias", "…", "Buenos días", "good morning!"],
)
def test_nothing_is_searched_for_without_a_word_that_counts(prompt: str) -> None:
    assert queries_for(prompt, []) == []


def hit(score: float, *found: str, seq: int = 1) -> Hit:
    return Hit(parent="d", seq=seq, score=score, why=Reason(words=dict.fromkeys(found, (1.0, 0))))


QUERY = Query(text="", words=frozenset("abcde"))


def test_passage_is_relevant_with_enough_words_and_score() -> None:
    hits = [hit(9, "a", "b"), hit(9, "a", seq=2), hit(4, "a", "b", seq=3), hit(5, "c", "d", seq=4)]
    assert [each.seq for each in QUERY.relevant_passages(hits)] == [1, 4]


def test_words_that_do_not_count_make_nothing_relevant() -> None:
    assert [*QUERY.relevant_passages([hit(9, "the", "of", "and")])] == []


def test_message_has_to_be_closer_to_the_best_one_than_a_passage() -> None:
    hits = [hit(10, "a", "b"), hit(5, "a", "b", seq=2), hit(4, "a", "b", seq=3)]
    assert [each.seq for each in QUERY.relevant_messages(hits)] == [1]
    assert [each.seq for each in QUERY.relevant_passages(hits)] == [1, 2]


def test_of_a_long_message_the_part_with_the_words_is_recalled() -> None:
    filler = "Nothing about it here, only other words. " * 40
    text = f"{filler}My sister Marta lives in Oslo. {filler}"
    found = excerpt(text, {"sister", "oslo"}, 200)
    assert found.startswith("… My sister Marta lives in Oslo.")
    assert len(found) <= 204
    assert excerpt("short", {"sister"}, 200) == "short"


def test_excerpt_of_one_endless_word_is_cut() -> None:
    assert len(excerpt("x" * 50_000, {"x"}, 200)) <= 204
