"""The made-up company of examples/: its people, and its documents with who may read them."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
_ABOUT = frozenset({"file", "title", "labels"})
"""What says something about a document; the rest of its row is who may read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An employee."""

    name: str
    email: str
    department: str
    roles: tuple[str, ...]
    questions: tuple["Question", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of an employee, the file that answers it, and words of the answer; no file: no
    answer.
    """

    text: str
    file: str | None
    words: tuple[str, ...]

    def is_met_by(self, answer: str, cited: Collection[str]) -> bool:
        """Whether the answer has the words and cites the file, or nothing if there is no answer."""
        if self.file is None:
            return not cited
        return self.file in cited and all(word in answer for word in self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleDocument:
    """A file of the company; who may read it is in the form of the API."""

    file: str
    title: str
    access: dict[str, Any]
    labels: tuple[str, ...] = ()
    folder: Path = EXAMPLES / "documents"

    @property
    def path(self) -> Path:
        return self.folder / self.file

    def may_be_read_by(self, person: Person) -> bool:
        """Whether the access names the person; those who manage all documents are not meant."""
        access = self.access
        return (
            bool(access.get("public"))
            or person.department in access.get("departments", ())
            or person.email in access.get("users", ())
            or not set(person.roles).isdisjoint(access.get("roles", ()))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What examples/documents.toml describes."""

    administrator: Person
    people: tuple[Person, ...]
    documents: tuple[ExampleDocument, ...]

    @property
    def accounts(self) -> tuple[Person, ...]:
        """The people, and the administrator, who loads the documents and asks nothing."""
        return (*self.people, self.administrator)


def example_company() -> Company:
    manifest = tomllib.loads((EXAMPLES / "documents.toml").read_text(encoding="utf-8"))
    return Company(
        administrator=_person(manifest["administrator"]),
        people=tuple(map(_person, manifest["people"])),
        documents=tuple(map(_document, manifest["documents"])),
    )


def _person(row: dict[str, Any]) -> Person:
    return Person(
        name=row["name"],
        email=row["email"],
        department=row["department"],
        roles=tuple(row["roles"]),
        questions=tuple(_question(*each) for each in row.get("questions", ())),
    )


def _question(text: str, file: str | None = None, *words: str) -> Question:
    return Question(text=text, file=file, words=words)


def _document(row: dict[str, Any]) -> ExampleDocument:
    access = {name: value for name, value in row.items() if name not in _ABOUT}
    return ExampleDocument(
        file=row["file"], title=row["title"], access=access, labels=tuple(row["labels"])
    )
