"""The example documents, and the questions about them that are labelled by hand."""

import html
import re
from collections import Counter

import pytest

from chatbot.domain.permissions import DEFAULT_ROLES, Permission, Role
from example_company import EXAMPLES, ExampleDocument, Person, example_company
from labelled_questions import (
    DATA,
    document_questions,
    one_spaced,
    people_with_memories,
    unanswerable_questions,
    unseen_documents,
    unseen_questions,
    without_accents,
)

COMPANY = example_company()
LIMITS = {".csv": 100}  # words; a table has fewer
LONGEST = 1500
UNSEEN = DATA / "unseen_documents"


def text_of(document: ExampleDocument) -> str:
    text = document.path.read_text(encoding="utf-8")
    is_html = document.path.suffix == ".html"
    return one_spaced(html.unescape(re.sub(r"<[^>]+>", "", text)) if is_html else text)


def test_manifest_names_every_document_once() -> None:
    folder = EXAMPLES / "documents"
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    assert sorted(document.file for document in COMPANY.documents) == files
    assert len(files) == 40


@pytest.mark.parametrize("document", COMPANY.documents, ids=lambda each: each.file)
def test_each_document_is_long_enough_and_has_readers(document: ExampleDocument) -> None:
    words = len(text_of(document).split())

    assert LIMITS.get(document.path.suffix, 300) <= words <= LONGEST
    assert any(document.access.values())
    assert set(document.access.get("users", ())) <= {person.email for person in COMPANY.people}
    assert set(document.access.get("roles", ())) <= DEFAULT_ROLES.keys()


def test_each_person_may_read_other_documents_than_the_others() -> None:
    readable = {
        person.email: frozenset(d.file for d in COMPANY.documents if d.may_be_read_by(person))
        for person in COMPANY.people
    }

    assert len(readable) == len(set(readable.values())) == 5
    assert all(len(files) < 40 for files in readable.values())
    assert all(set(person.roles) <= DEFAULT_ROLES.keys() for person in COMPANY.people)


def test_there_are_200_questions_in_each_language_and_no_question_twice() -> None:
    questions = document_questions()

    assert Counter(each.language for each in questions) == {"es": 200, "en": 200}
    assert len({each.text for each in questions}) == len(questions)


def test_the_document_of_every_question_holds_its_answer() -> None:
    texts = {document.file: text_of(document) for document in COMPANY.documents}

    missing = [q for q in document_questions() if not q.is_answered_by(q.file, texts[q.file])]

    assert missing == []


def test_the_documents_that_no_rule_has_seen_hold_the_answers_of_their_questions() -> None:
    questions = unseen_questions()
    texts = {
        file: text_of(ExampleDocument(file=file, title=title, access={}, folder=UNSEEN))
        for file, title in unseen_documents().items()
    }

    assert sorted(texts) == sorted(path.name for path in UNSEEN.iterdir())
    assert Counter(each.language for each in questions) == {"es": 40, "en": 40}
    assert [q for q in questions if not q.is_answered_by(q.file, texts[q.file])] == []
    assert {code: len(asked) for code, asked in unanswerable_questions().items()} == {
        "es": 10,
        "en": 10,
    }


def test_a_passage_of_another_version_may_answer_a_question_too() -> None:
    texts = {document.file: text_of(document) for document in COMPANY.documents}
    others = [(q, file) for q in document_questions() for file, _ in q.also]

    assert len(others) == 3
    assert [q for q, file in others if not q.is_answered_by(file, texts[file])] == []


def test_every_document_is_asked_about() -> None:
    asked = {question.file for question in document_questions()}

    assert asked == {document.file for document in COMPANY.documents}


def test_questions_are_written_without_accents_mechanically() -> None:
    assert without_accents("¿Cuánto cobra la niña el año próximo?") == (
        "¿Cuanto cobra la nina el ano proximo?"
    )


def test_two_people_ask_200_questions_each_about_messages_that_exist() -> None:
    people = people_with_memories()

    assert [(person.language, len(person.questions)) for person in people] == [
        ("es", 200),
        ("en", 200),
    ]
    for person in people:
        assert len({question.text for question in person.questions}) == 200
        assert len(person.sessions) > 25
        for question in person.questions:
            seqs = range(1, len(person.sessions[question.session]) + 1)
            assert question.evidence, question
            assert all(seq in seqs for seq in question.evidence), question


@pytest.mark.parametrize("person", COMPANY.people, ids=lambda each: each.name)
def test_each_person_has_ten_questions_about_documents_that_they_may_read(person: Person) -> None:
    files = {document.file: document for document in COMPANY.documents}

    assert len(person.questions) == 10
    assert any(question.file is None for question in person.questions)
    for question in person.questions:
        if question.file is not None:
            assert files[question.file].may_be_read_by(person), question
            text = text_of(files[question.file])
            assert question.words
            assert all(_without_names(word) in text for word in question.words), question


def _without_names(words: str) -> str:
    """Of a cell with the name of its column, as in `Chilled: 89`, the value."""
    return words.rpartition(": ")[2]


def test_no_one_who_asks_manages_all_documents() -> None:
    manages = {name for name, role in DEFAULT_ROLES.items() if _manages_all(role)}
    assert manages == {"admin"}
    assert set(COMPANY.administrator.roles) >= manages
    assert all(manages.isdisjoint(person.roles) for person in COMPANY.people)


def _manages_all(role: Role) -> bool:
    return Permission.DOCUMENTS_MANAGE in role.permissions and not role.own_department_only
