"""What a person's search finds in conversations that are labelled by hand, as `make bench` measures it."""

import pytest

from labelled_questions import Rememberer, people_with_memories, without_accents
from memory_search import missed_questions

PEOPLE = people_with_memories()
LEAST = {"es": 0.87, "en": 0.84}
FIRST = 10


@pytest.mark.parametrize("person", PEOPLE, ids=lambda each: each.language)
async def test_most_questions_find_a_message_with_the_answer_among_the_first_ten(
    person: Rememberer,
) -> None:
    missed = await missed_questions(person, first=FIRST)

    found = 1 - len(missed) / len(person.questions)
    assert found >= LEAST[person.language], [each.text for each in missed]


async def test_questions_without_accents_find_as_much() -> None:
    (nuria,) = (person for person in PEOPLE if person.language == "es")
    missed = await missed_questions(nuria, first=FIRST)
    without = await missed_questions(nuria, first=FIRST, written=without_accents)

    lost = [each.text for each in without if each not in missed]
    assert len(lost) <= 0.01 * len(nuria.questions), lost
