"""A small company whose rights, people and documents change, and who may read what by the rule itself."""

from dataclasses import dataclass, field
from typing import Any

DEPARTMENTS, ROLES = ("Sales", "HR"), ("employee", "lead")
WORDS = ("otter", "lynx", "heron")
Json = dict[str, Any]


@dataclass
class Worker:
    """A person, as the rule sees them."""

    name: str
    department: str
    roles: set[str]
    is_active: bool = True


@dataclass
class Paper:
    """A document, as the rule sees it."""

    title: str
    text: str
    uploader: str
    department: str
    access: Json
    labels: list[str]
    id: str = ""
    version: int = 1


@dataclass
class World:
    """All people and objects, in the order of their creation."""

    people: dict[str, Worker] = field(default_factory=dict)
    papers: list[Paper] = field(default_factory=list)

    def readable(self, name: str) -> list[Paper]:
        """The documents of a person, the newest first."""
        return [paper for paper in reversed(self.papers) if self.may_read(self.people[name], paper)]

    def may_read(self, person: Worker, paper: Paper) -> bool:
        access = paper.access
        if not person.is_active:
            return False
        if paper.uploader == person.name or "admin" in person.roles:
            return True
        managed = {paper.department, *access.get("departments", [])}
        if "department_admin" in person.roles and (
            access.get("public") or person.department in managed
        ):
            return True
        if "employee" not in person.roles:
            return False
        return bool(
            access.get("public")
            or person.department in access.get("departments", [])
            or person.roles & {*access.get("roles", [])}
            or person.name in access.get("users", [])
        )
