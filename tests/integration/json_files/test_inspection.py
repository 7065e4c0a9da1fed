"""Inspecting a folder reports every problem and changes nothing; folder names of owners."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import os
import re
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.paths import folder_name
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRole,
    SessionId,
)
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from json_store import ANA, ONE, T0, sessions_of, talk, tree, user, users_of
from samples import new_message


class TestNames:
    @given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
    @example(["Con", "con"])
    @example(["ana", "ANA"])
    @example(["a.", "a "])
    @example(["aux.txt", "\u212a"])
    def test_every_owner_has_a_folder_of_its_own_on_windows_too(self, ids: list[str]) -> None:
        names = [folder_name(Owner(kind="user", id=one)) for one in ids]
        assert names[0].casefold() != names[1].casefold()
        for name in names:
            assert re.fullmatch(r"user-[a-z0-9%_-]+", name)  # no reserved name, letter or ending


class TestInspection:
    async def test_valid_store_has_no_findings_and_is_not_written_to(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            sessions_of(storage).put_memory(ANA, ONE, Memory(summary="x"), epoch=0)
            sessions_of(storage).reset(lease, ts=T0)
            sessions_of(storage).append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            users_of(storage).add(user(1))
            await storage.make_initial_records()
            before = tree(root)
            assert await storage.findings() == []
            assert tree(root) == before

    async def test_every_error_is_listed(self, root: Path, log: Path, folder: Path) -> None:
        async with JsonFileStorage(root) as storage:
            for number in range(1, 6):
                talk(storage, SessionId(f"{number:032x}"), count=30)
        logs = sorted(folder.glob("*.log"))
        logs[0].write_bytes(logs[0].read_bytes().replace(b"ts", b"tz", 1))
        logs[1].write_bytes(logs[1].read_bytes().replace(b'"version":1', b'"version":9'))
        logs[2].with_suffix(".json").write_bytes(b"")
        (folder / f"{'f' * 32}.json").write_bytes(b"{}")
        (folder / "notes.txt").write_bytes(b"x")
        (root / "memory" / "Strange").mkdir(mode=0o700)
        (root / "auth" / "roles.json").write_bytes(b"{")
        (root / "auth" / "roles.json").chmod(0o600)
        if os.name != "nt":
            (root / "auth").chmod(0o755)
        before = tree(root)
        async with JsonFileStorage(root) as storage:
            found = {(Path(f.path).name, f.problem) for f in await storage.findings()}
        exposed = {("auth", Problem.EXPOSED)} if os.name != "nt" else set()
        assert found == exposed | {
            (logs[0].name, Problem.DAMAGED),
            (logs[1].name, Problem.NEWER),
            (logs[2].with_suffix(".json").name, Problem.DAMAGED),
            (f"{'f' * 32}.json", Problem.LEFTOVER),
            ("notes.txt", Problem.FOREIGN),
            ("Strange", Problem.FOREIGN),
            ("roles.json", Problem.FOREIGN),
        }
        assert tree(root) == before

    async def test_legacy_sessions_are_not_a_finding(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            (root / "session_1.json").write_text("{}", "utf-8")
            (root / "memory" / "session_a-b.json").write_text("{}", "utf-8")
            assert await storage.findings() == []
