"""The made-up company of examples/: its people, and its documents with who may read them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
_ABOUT = frozenset({"file", "title", "labels"})
"""What says something about a document; the rest of its row is who may read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who works there."""

    name: str
    email: str
    department: str
    roles: tuple[str, ...]
    questions: tuple["Question", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody asks, and the file that answers it; None if they get no answer."""

    text: str
    file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleDocument:
    """A file of the company; who may read it is in the form of the API."""

    file: str
    title: str
    access: dict[str, Any]
    labels: tuple[str, ...]

    @property
    def path(self) -> Path:
        return EXAMPLES / "documents" / self.file

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

    people: tuple[Person, ...]
    documents: tuple[ExampleDocument, ...]


def example_company() -> Company:
    manifest = tomllib.loads((EXAMPLES / "documents.toml").read_text(encoding="utf-8"))
    return Company(
        people=tuple(
            Person(
                name=each["name"],
                email=each["email"],
                department=each["department"],
                roles=tuple(each["roles"]),
                questions=tuple(
                    Question(text=text, file=file or None) for text, file in each["questions"]
                ),
            )
            for each in manifest["people"]
        ),
        documents=tuple(map(_document, manifest["documents"])),
    )


def _document(row: dict[str, Any]) -> ExampleDocument:
    access = {name: value for name, value in row.items() if name not in _ABOUT}
    return ExampleDocument(
        file=row["file"], title=row["title"], access=access, labels=tuple(row["labels"])
    )
