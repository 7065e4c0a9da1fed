"""What searches find and what answers cite, on the sets that are labelled by hand in bench/data.

Documents: through the API of a service that holds the 40 documents of examples/. Citations: of the
answers of the embedded model, local/extractive, whose limits were chosen by these questions, and of
its answers about other documents, which had no part in that. Memory: the past messages of two people, in the
index. `--missed` lists the questions that fail.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Figure, table

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from demo_service import DemoService, demo_service, upload
from example_company import Company, ExampleDocument, Person, example_company
from labelled_questions import (
    DATA,
    DocumentQuestion,
    document_questions,
    people_with_memories,
    unanswerable_questions,
    unseen_documents,
    unseen_questions,
    without_accents,
)
from memory_search import missed_questions

FIRST = 10
LANGUAGES = {"Spanish": "es", "English": "en"}
UNSEEN = DATA / "unseen_documents"
DOCUMENTS_AT_LEAST, ACCENTS_LOSE_AT_MOST, CITED_AT_LEAST = 93, 1, 95


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """A passage of a file, as the API returns it."""

    file: str
    text: str
    start: int
    end: int


@dataclass
class Library:
    """The documents in the service, searched as a caller who may read all of them."""

    service: DemoService
    reader: Person
    files: dict[str, str]
    passages: set[FoundPassage] = field(default_factory=set)

    def find_all(self, questions: Sequence[DocumentQuestion]) -> None:
        """Search for the questions, so that the passages that answers cite are known."""
        for question in questions:
            self.found(question.text)

    def found(self, query: str) -> list[FoundPassage]:
        body = {"query": query, "limit": FIRST}
        answer = self.service.call("POST", "/search", body, by=self.service.sign_in(self.reader))
        found = [self._passage(each) for each in answer["passages"]]
        self.passages.update(found)
        return found

    def _passage(self, row: dict[str, Any]) -> FoundPassage:
        return FoundPassage(
            file=self.files[row["title"]],
            text=f"{row['heading']}\n{row['text']}",
            start=row["start"],
            end=row["end"],
        )

    def cited(self, prompt: str, *, by: Person | None = None) -> list[FoundPassage]:
        """Return the passages that the answer cites."""
        body = {"prompt": prompt, "session_id": None}
        token = self.service.sign_in(by or self.reader)
        answer = self.service.call("POST", "/chat", body, by=token)
        return [self._around(each) for each in answer["citations"]]

    def _around(self, citation: dict[str, Any]) -> FoundPassage:
        """Return the passage in which the quote stands, or the quote if no search has found it."""
        file, start = self.files[citation["title"]], citation["start"]
        around = (p for p in self.passages if p.file == file and p.start <= start < p.end)
        alone = FoundPassage(file=file, text=citation["quote"], start=start, end=citation["end"])
        return next(around, alone)


def has_answer(question: DocumentQuestion, passages: Sequence[FoundPassage]) -> bool:
    return any(question.is_answered_by(each.file, each.text) for each in passages)


def percent(part: int, whole: int) -> float:
    return 100 * part / max(1, whole)


def searches(library: Library, missed: list[str]) -> Iterator[Figure]:
    """What is found for the questions of each language, and for the Spanish ones without accents."""
    share = {}
    for name, language, written in (
        ("Spanish", "es", str),
        ("Spanish without accents", "es", without_accents),
        ("English", "en", str),
    ):
        asked = [each for each in document_questions() if each.language == language]
        found = [(each, library.found(written(each.text))) for each in asked]
        first = percent(sum(has_answer(each, passages[:1]) for each, passages in found), len(found))
        wrong = [each for each, passages in found if not has_answer(each, passages)]
        missed += [f"search, {name}: {each.text} ({each.file})" for each in wrong]
        share[name] = 100 - percent(len(wrong), len(found))
        yield Figure(
            what=f"documents, {name}: the answer is in the first passage", value=first, unit=" %"
        )
        what = f"documents, {name}: it is in the first {FIRST}"
        yield Figure(
            what=what, value=share[name], target=DOCUMENTS_AT_LEAST, unit=" %", at_least=True
        )
    yield Figure(
        what="documents: what Spanish questions lose without accents",
        value=share["Spanish"] - share["Spanish without accents"],
        target=ACCENTS_LOSE_AT_MOST,
        unit=" points",
    )


def citations(
    library: Library, name: str, questions: Sequence[DocumentQuestion], missed: list[str]
) -> Iterator[Figure]:
    """Of the answers with citations: those that cite the answer, and those that cite anything else."""
    for language, code in LANGUAGES.items():
        asked = [each for each in questions if each.language == code]
        found = [(each, library.cited(each.text)) for each in asked]
        answered = [(each, cited) for each, cited in found if cited]
        right = sum(has_answer(each, cited) for each, cited in answered)
        others = [each for each, cited in answered if cites_another(each, cited)]
        what = f"{name}, {language}"
        missed += [
            f"no citation, {what}: {each.text} ({each.file})" for each, cited in found if not cited
        ]
        missed += [f"cites another, {what}: {each.text} ({each.file})" for each in others]
        yield Figure(
            what=f"{what}: questions that are answered with a citation",
            value=percent(len(answered), len(asked)),
            unit=" %",
        )
        yield Figure(
            what=f"{what}: of these, a passage with the answer is cited",
            value=percent(right, len(answered)),
            target=CITED_AT_LEAST,
            unit=" %",
            at_least=True,
        )
        yield Figure(
            what=f"{what}: of these, another passage is cited",
            value=percent(len(others), len(answered)),
            target=0,
            unit=" %",
        )


def refusals(library: Library, company: Company, missed: list[str]) -> Iterator[Figure]:
    """What is cited where the document with the answer is not for the person, or there is none."""
    files = {document.file: document for document in company.documents}
    for language, code in LANGUAGES.items():
        asked = [
            (each.text, person)
            for each in document_questions()
            if each.language == code
            for person in company.people
            if not files[each.file].may_be_read_by(person)
        ]
        cited = [text for text, person in asked if library.cited(text, by=person)]
        missed += [
            f"cites what is not asked for, {language}: {text}" for text in dict.fromkeys(cited)
        ]
        yield Figure(
            what=f"refusals, {language}: questions of people who may not read the answer, cited all the same",
            value=percent(len(cited), len(asked)),
            unit=" %",
        )
    for language, code in LANGUAGES.items():
        nowhere = unanswerable_questions()[code]
        wrong = [text for text in nowhere if library.cited(text)]
        missed += [f"cites without an answer, {language}: {text}" for text in wrong]
        yield Figure(
            what=f"refusals, {language}: questions that no document answers, with a citation",
            value=percent(len(wrong), len(nowhere)),
            target=0,
            unit=" %",
        )


def cites_another(question: DocumentQuestion, cited: Sequence[FoundPassage]) -> bool:
    return not all(question.is_answered_by(each.file, each.text) for each in cited)


def documents(missed: list[str]) -> list[Figure]:
    company = example_company()
    reader = company.administrator
    unseen = tuple(
        ExampleDocument(file=file, title=title, access={"public": True}, folder=UNSEEN)
        for file, title in unseen_documents().items()
    )
    files = {document.title: document.file for document in (*company.documents, *unseen)}
    with (
        tempfile.TemporaryDirectory() as folder,
        demo_service(Path(folder), company) as (service, _),
    ):
        upload(service, company.documents, by=reader)
        library = Library(service=service, reader=reader, files=files)
        figures = [
            *searches(library, missed),
            *citations(library, "citations", document_questions(), missed),
        ]
        upload(service, unseen, by=reader)
        library.find_all(unseen_questions())
        return [
            *figures,
            *citations(library, "citations of unseen documents", unseen_questions(), missed),
            *refusals(library, company, missed),
        ]


async def memory(missed: list[str]) -> list[Figure]:
    """How often a message with the answer is among the first that a person's search finds."""
    found = []
    for person in people_with_memories():
        wrong = await missed_questions(person, first=FIRST)
        missed += [f"memory, {person.name}: {each.text}" for each in wrong]
        share = 100 - percent(len(wrong), len(person.questions))
        what = f"memory, {person.language}: a message with the answer among the first {FIRST}"
        found.append(Figure(what=what, value=share, unit=" %"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="as for the others; nothing here varies")
    parser.add_argument("--missed", action="store_true", help="list the questions that fail")
    options = parser.parse_args()
    missed: list[str] = []
    figures = asyncio.run(memory(missed)) + documents(missed)
    print(table(figures))
    if options.missed:
        print("", *missed, sep="\n")


if __name__ == "__main__":
    main()
