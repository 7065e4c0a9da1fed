"""A company over HTTP, and histories of its rights, people and documents for Hypothesis."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.application.user_changes import UserChange
from chatbot.domain.identity import UserId
from chatbot.domain.permissions import Role
from chatbot.domain.ports.model import ModelRequest
from document_calls import Library
from plain_extractor import PlainExtractor
from rights_world import DEPARTMENTS, ROLES, WORDS, Json, Paper, Worker, World
from service import HOST, serving, settings_for_tests
from staff import InstantHasher

PEOPLE = {
    "admin": ("", {"admin"}),
    "chief": ("Sales", {"department_admin", "employee"}),
    "ana": ("Sales", {"employee"}),
    "ben": ("Sales", {"employee", "lead"}),
    "eva": ("HR", {"employee"}),
}
Step = tuple[Any, ...]

names = st.sampled_from([*PEOPLE])
papers = st.integers(0, 30)
accesses = st.fixed_dictionaries(
    {},
    optional={
        "public": st.booleans(),
        "departments": st.lists(st.sampled_from(DEPARTMENTS), max_size=2, unique=True),
        "roles": st.lists(st.sampled_from(ROLES), max_size=1),
        "users": st.lists(names, max_size=2, unique=True),
    },
)
labels = st.lists(st.sampled_from(["one", "two"]), max_size=1)
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)
steps = st.one_of(
    st.tuples(st.just("upload"), names, accesses, labels, words),
    st.tuples(st.just("upload"), names, accesses, labels, words),
    st.tuples(st.just("access"), papers, accesses),
    st.tuples(st.just("labels"), papers, labels),
    st.tuples(st.just("version"), papers, words),
    st.tuples(st.just("delete"), papers),
    st.tuples(
        st.just("move"), st.sampled_from(["ana", "ben", "eva"]), st.sampled_from(DEPARTMENTS)
    ),
    st.tuples(
        st.just("roles"),
        st.sampled_from(["ben", "eva"]),
        st.sampled_from([["employee"], ["employee", "lead"], ["lead"], ["department_admin"]]),
    ),
    st.tuples(st.just("active"), st.sampled_from(["ben", "eva"]), st.booleans()),
)
histories = st.lists(steps, min_size=6, max_size=24)


class Town:
    """A service, and the world as it should be. `only`: the documents that are ever uploaded."""

    def __init__(self, library: Library, only: set[int] | None = None) -> None:
        self.library, self.only = library, only
        self.world = World()
        self.made: list[Paper | None] = []

    async def people(self) -> None:
        await self.library.service.use.roles.put(HOST, Role(name="lead", permissions=frozenset()))
        for name, (department, roles) in PEOPLE.items():
            email = f"{name}@example.com"
            user = await self.library.service.add_user(
                email, *sorted(roles), department=department or "Board"
            )
            self.library.ids[name] = user.id
            self.library.headers[name] = await self.library.service.bearer(email)
            self.world.people[name] = Worker(name, department or "Board", {*roles})

    async def take(self, step: Step) -> None:
        kind, *given = step
        match kind:
            case "upload":
                await self._upload(*given)
            case "move" | "roles" | "active":
                await self._change_person(kind, *given)
            case _:
                paper = self._paper(given[0])
                if paper is not None:
                    await self._change_paper(kind, paper, *given[1:])

    def _paper(self, number: int) -> Paper | None:
        return self.made[number % len(self.made)] if self.made else None

    async def _upload(
        self, name: str, access: dict[str, Any], labels: list[str], words: list[str]
    ) -> None:
        number = len(self.made)
        person = self.world.people[name]
        await self.sign_in(name)
        may_upload = person.is_active and bool(person.roles - {"lead"})
        if not may_upload or (self.only is not None and number not in self.only):
            self.made.append(None)
            return
        text = f"Paper{number} {' '.join(words)}."
        answer = await self.library.upload(
            name, text, title=f"P{number}", access=self._sent(access), labels=",".join(labels)
        )
        document_id = answer.raise_for_status().json()["document"]["id"]
        paper = Paper(f"P{number}", text, name, person.department, access, labels, id=document_id)
        self.made.append(paper)
        self.world.papers.append(paper)

    def _sent(self, access: dict[str, Any]) -> dict[str, Any]:
        return {**access, "users": [self.library.ids[each] for each in access.get("users", [])]}

    async def _change_person(self, kind: str, name: str, value: Any) -> None:
        person, user_id = self.world.people[name], UserId(self.library.ids[name])
        change = UserChange()
        if kind == "move":
            person.department, change = value, UserChange(department=value)
        elif kind == "roles":
            person.roles, change = {*value}, UserChange(roles=value)
        else:
            person.is_active, change = value, UserChange(is_active=value)
        await self.library.service.use.people.change(HOST, user_id, change)

    async def _change_paper(self, kind: str, paper: Paper, *given: Any) -> None:
        path = f"/documents/{paper.id}"
        if kind == "access":
            paper.access = given[0]
            answer = await self.library.call(
                "admin", "PATCH", path, json={"access": self._sent(given[0])}
            )
        elif kind == "labels":
            paper.labels = given[0]
            answer = await self.library.call("admin", "PATCH", path, json={"labels": given[0]})
        elif kind == "version":
            await self.settle()
            text = f"{paper.text.split()[0]} {' '.join(given[0])}."
            is_new = text != paper.text
            paper.text, paper.version = text, paper.version + is_new
            body = {"text": text, "media_type": "text/markdown"}
            answer = await self.library.call("admin", "PUT", f"{path}/content", json=body)
        else:
            self.world.papers.remove(paper)
            self.made[self.made.index(paper)] = None
            answer = await self.library.call("admin", "DELETE", path)
        answer.raise_for_status()

    async def settle(self) -> None:
        use = self.library.service.use
        while await use.storage.transact(lambda tx: tx.documents.has_jobs()):
            await use.ingestion.work_once()
            await asyncio.sleep(0.001)

    async def sign_in(self, name: str) -> bool:
        """Enabling a person again does not revive tokens."""
        if not self.world.people[name].is_active:
            return False
        self.library.headers[name] = await self.library.service.bearer(f"{name}@example.com")
        return True

    async def check(self, name: str) -> None:
        """Compare what a person gets with what the rule says."""
        person = self.world.people[name]
        if not await self.sign_in(name):
            assert (await self.library.call(name, "GET", "/documents")).status_code == 401
            return
        if not person.roles - {"lead"}:
            assert (await self.library.call(name, "GET", "/documents")).status_code == 403
            return
        readable = self.world.readable(name)
        assert await self.library.titles(name, "?limit=200") == [each.title for each in readable]
        for label in ("one", "two"):
            titles = [each.title for each in readable if label in each.labels]
            assert await self.library.titles(name, f"?limit=200&label={label}") == titles
        for word in WORDS:
            found = await self.library.search(name, word, limit=25)
            expected = {(each.title, each.version) for each in readable if word in each.text}
            assert {(each["title"], each["version"]) for each in found} == expected
            assert {each["text"] for each in found} <= {each.text for each in readable}
        for paper in self.world.papers:
            answer = await self.library.call(name, "GET", f"/documents/{paper.id}")
            assert answer.status_code == (200 if paper in readable else 404)

    async def seen_by(self, name: str, ids: Sequence[str]) -> list[str]:
        """Every answer that the person gets, without what differs from service to service."""
        calls: list[tuple[str, str, Json]] = [
            ("GET", f"/documents{query}", {})
            for query in ("?limit=2", "?limit=200", "?label=one", "?query=P1", "?status=ready")
        ]
        for word in (*WORDS, "paper0 lynx", "nothing"):
            calls += [
                ("POST", "/search", {"query": word, "limit": 3}),
                ("POST", "/search", {"query": word, "labels": ["two"]}),
                ("POST", "/chat", {"prompt": word}),
            ]
        for document_id in ids:
            url = f"/documents/{document_id}"
            calls += [("GET", url, {}), ("GET", f"{url}/content", {})]
        answers = [
            await self.library.call(name, method, path, json=body or None)
            for method, path, body in calls
        ]
        return [self._without_ids(each.text) for each in answers]

    def _without_ids(self, text: str) -> str:
        for paper in self.world.papers:
            text = text.replace(paper.id, paper.title)
        for name, user_id in self.library.ids.items():
            text = text.replace(user_id, name)
        text = re.sub(r'"users":\[([^]]*)\]', _sorted_users, text)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "time", text)
        text = re.sub(r'"next":"[^"]+"', '"next":"more"', text)
        return re.sub(r"[0-9a-f]{32}|[0-9a-f]{16,}", "id", text)


def _sorted_users(found: re.Match[str]) -> str:
    """Ids are random, and so is their order."""
    return f'"users":[{",".join(sorted(found[1].split(",")))}]'


def echoed(request: ModelRequest) -> str:
    """An answer that cites whatever it can, and repeats the whole prompt."""
    return f"Cited [1] [2] [3] [4]. {json.dumps(request.texts)}"


def serving_town(**given: object) -> Any:
    values = {"mem_structured_enable": False, "mem_summarize_threshold": 0, **given}
    return serving(
        settings_for_tests(**values),
        model=ScriptedModel(echoed),
        hasher=InstantHasher(),
        extractor=PlainExtractor(),
    )


async def played(town: Town, history: Sequence[Step]) -> None:
    await town.people()
    for step in history:
        await town.take(step)
    await town.settle()
