"""All data of a person as a ZIP file."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import AsyncGenerator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from canaries import CANARY, SESSIONS, person, plant
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.application import data_export as data_export_module
from chatbot.application import transcripts
from chatbot.application.auditing import Auditing
from chatbot.application.data_export import DataExport
from chatbot.application.usage import UsageReports
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import SessionId, TurnId
from chatbot.domain.identity import Owner, UserId
from chatbot.domain.ports.export import Change
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.http.personal_archive import archive
from conversation import START
from samples import T0, conversation
from service import Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANA, BEN = UserId("a" * 32), UserId("b" * 32)
OTHER = "other-2b90"
ANA_EMAIL, OFFICER = "eva@example.com", "officer@example.com"
HOST = of_host("root")
REASON = "Complaint 2026-17 of Ana."


def exports_on(storage: Storage) -> DataExport:
    ids = iter(f"{number:032x}" for number in range(1000))
    auditing = Auditing(b"k" * 32, clock=lambda: START)
    usage = UsageReports(storage, zone=UTC, clock=lambda: T0)
    return DataExport(storage, auditing, usage, clock=lambda: START, new_id=lambda: next(ids))


async def packed(storage: Storage) -> zipfile.ZipFile:
    data = await exports_on(storage).of(HOST, ANA, REASON)
    raw = b"".join([piece async for piece in archive(data, {})])
    found = zipfile.ZipFile(io.BytesIO(raw))
    assert found.testzip() is None
    return found


async def test_archive_has_everything_about_the_person_and_nothing_of_others(
    closed_storage: Storage,
) -> None:
    async with closed_storage as storage:
        await storage.transact(lambda tx: plant(tx, person(ANA)))
        await storage.transact(lambda tx: plant(tx, person(BEN, OTHER), OTHER))
        found = await packed(storage)
    ids = [f"{ANA[:31]}{number}" for number in range(SESSIONS)]
    assert sorted(found.namelist()) == sorted(
        ["profile.json", "memory.json", "items.json", "usage.csv", "access-log.json"]
        + ["documents.json"]
        + [f"documents/0{ANA[:31]}/{number}-{CANARY}" for number in (1, 2)]
        + [f"sessions/{each}.{suffix}" for each in ids for suffix in ("json", "md")]
    )
    texts = {name: found.read(name).decode() for name in found.namelist()}
    assert all(CANARY in text for name, text in texts.items() if name != "usage.csv")
    assert texts["usage.csv"].splitlines()[1].startswith("2026-03-01,")
    assert not any(OTHER in text for text in texts.values())
    profile = json.loads(texts["profile.json"])
    assert (profile["id"], profile["department"]) == (ANA, f"{CANARY} of department")
    assert "password_hash" not in profile
    for each in ids:
        session = json.loads(texts[f"sessions/{each}.json"])
        assert len(session["messages"]) == session["message_count"] == 2
        assert session["title"] == f"{CANARY} new title"
    memory = json.loads(texts["memory.json"])
    assert sorted(each["session_id"] for each in memory) == ids
    assert {each["action"] for each in json.loads(texts["access-log.json"])} >= {"export"}


async def test_session_deleted_or_reset_meanwhile_does_not_break_the_archive(
    closed_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "EXPORTED_AT_ONCE", 1)
    monkeypatch.setattr(data_export_module, "_SESSIONS_AT_ONCE", 2)
    async with closed_storage as storage:
        await storage.transact(lambda tx: plant(tx, person(ANA)))
        data = await exports_on(storage).of(HOST, ANA, REASON)
        owner = Owner(kind="user", id=ANA)
        pages = archive(data, {})
        raw = await anext(pages)
        while b"sessions/" not in raw:
            raw += await anext(pages)

        def disturb(tx: Any) -> None:
            for number, change in enumerate((tx.sessions.delete, None, tx.sessions.delete)):
                session_id = SessionId(f"{ANA[:31]}{number}")
                with tx.sessions.held(owner, session_id, TurnId("t")) as lease:
                    if change is None:
                        tx.sessions.reset(lease, ts=START)
                    else:
                        change(lease)

        await storage.transact(disturb)
        raw += b"".join([piece async for piece in pages])
    found = zipfile.ZipFile(io.BytesIO(raw))
    assert found.testzip() is None
    sessions = [name for name in found.namelist() if name.endswith(".json") and "/" in name]
    cut = [name for name in sessions if "incomplete" in json.loads(found.read(name))]
    assert len(cut) == 1, "the one that was under way"
    assert {"memory.json", "access-log.json"} <= set(found.namelist())


async def test_memory_does_not_grow_with_the_number_of_sessions(tmp_path: Path) -> None:
    texts = [f"{number} " * 500 for number in range(4)]
    owner = Owner(kind="user", id=ANA)
    with JsonFileExport(tmp_path) as export:
        for number in range(1000):
            export.put([Change(conversation(number, owner=owner, texts=texts), None)])
        export.put([Change(person(ANA), None)])
    async with JsonFileStorage(tmp_path) as storage:
        data = await exports_on(storage).of(HOST, ANA, REASON)
        tracemalloc.start()
        try:
            size = 0
            async for piece in archive(data, {}):
                size += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size > 100_000
    assert peak < 12_000_000, peak


# --- over HTTP -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as found:
        await found.add_user(ANA_EMAIL)
        await found.add_user(OFFICER, "data_protection")
        await found.add_admin()
        yield found


async def test_person_exports_the_own_data(service: Service) -> None:
    headers = await service.bearer(ANA_EMAIL)
    turn = await service.client.post("/chat", json={"prompt": "Secret"}, headers=headers)
    answer = await service.client.get("/me/export", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert "attachment" in answer.headers["content-disposition"]
    found = zipfile.ZipFile(io.BytesIO(answer.content))
    assert b"Secret" in found.read(f"sessions/{turn.json()['session_id']}.md")
    assert json.loads(found.read("access-log.json")) == []
    assert "user.export" in await actions(service)


async def test_data_protection_exports_the_data_of_others_and_they_see_it(
    service: Service,
) -> None:
    ana = await service.bearer(ANA_EMAIL)
    user_id = (await service.client.get("/me", headers=ana)).json()["id"]
    path, given = f"/admin/users/{user_id}/export", {"reason": "Complaint 2026-17."}
    refused = await service.client.get(path, headers=await service.bearer())
    assert code_of(refused) == (403, "forbidden"), "an administrator may not read conversations"
    officer = await service.bearer(OFFICER)
    for wrong in ({"reason": "short"}, {"reason": "x" * 501}):
        answer = await service.client.get(path, params=wrong, headers=officer)
        assert code_of(answer) == (422, "invalid_request")
    for accepted in ({}, given):
        answer = await service.client.get(path, params=accepted, headers=officer)
        assert answer.status_code == 200
    log = await service.client.get("/me/access-log", headers=ana)
    shown = [(each["action"], each.get("reason")) for each in log.json()["accesses"]]
    assert shown == [("export", given["reason"]), ("export", "")], "the newest first"
    assert given["reason"] in await reasons(service)
    for unknown in ("0" * 32, "x" * 100):
        missing = await service.client.get(f"/admin/users/{unknown}/export", headers=officer)
        assert code_of(missing) == (404, "not_found")


async def actions(service: Service) -> list[object]:
    entries = await service.use.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=999))
    return [entry.content["action"] for entry in entries]


async def reasons(service: Service) -> list[object]:
    """The reasons of the exports in the audit."""
    entries = await service.use.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=999))
    return [e.content.get("reason") for e in entries if e.content["action"] == "user.export"]
