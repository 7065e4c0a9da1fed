"""The check puts right what kills, lost files and copies of the store have left."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from analysis import analysed_in_transactions
from canaries import plant_document
from chatbot.adapters.search.preparing import prepared_apart
from chatbot.application import document_index
from chatbot.application.document_check import DocumentCheck, Repaired
from chatbot.application.transfer import StoreCopy
from chatbot.domain.document_ids import document_id
from chatbot.domain.documents import Access, DocumentId, Status
from chatbot.domain.identity import UserId
from chatbot.domain.ports.search import Prepared
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage, Scope
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from samples import T0
from service import settings_for_tests

ANA = UserId("a" * 32)
PUBLIC = Access(public=True)


def check_on(storage: Storage, woken: list[int] | None = None) -> DocumentCheck:
    found = [] if woken is None else woken
    return DocumentCheck(storage, prepared_apart, clock=lambda: T0, wake=lambda: found.append(1))


def fill(tx: Transaction) -> list[Scope]:
    access = [PUBLIC, PUBLIC, Access()]
    made = [
        plant_document(tx, ANA, f"text {n}", access=each, number=n) for n, each in enumerate(access)
    ]
    return [each.scope for each in made]


async def test_check_changes_nothing_in_a_consistent_store(closed_storage: Storage) -> None:
    async with closed_storage as storage:
        await storage.transact(fill)
        assert not await check_on(storage).run()


async def test_no_transaction_waits_for_the_analysis_of_a_lost_index(
    closed_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plant(tx: Transaction) -> None:
        document = plant_document(tx, ANA, "text", passages=3)
        tx.index.clear(document.scope)

    async with closed_storage as storage:
        await storage.transact(plant)
        analysed = analysed_in_transactions(storage, monkeypatch)
        assert await check_on(storage).run() == Repaired(indexed=1)
    assert analysed == [0, 0, 0]


async def test_document_that_changes_while_it_is_analysed_keeps_its_access(
    closed_storage: Storage,
) -> None:
    async with closed_storage as storage:
        [public, *_] = await storage.transact(fill)
        [document] = await storage.transact(lambda tx: tx.documents.page([public], limit=1))
        await storage.transact(lambda tx: tx.index.clear(public))
        private = document_index.classified(replace(document, access=Access()))

        async def slow(parent: str, passages: Sequence[Passage]) -> Prepared:
            if parent == document.id:
                await storage.transact(lambda tx: document_index.change(tx, private, old=document))
            return await prepared_apart(parent, passages)

        await DocumentCheck(storage, slow, clock=lambda: T0, wake=lambda: None).run()
        assert document.id not in await storage.transact(lambda tx: tx.index.indexed(public))
        await check_on(storage).run()
        counts = await storage.transact(lambda tx: tx.index.indexed(private.scope))
        assert counts[document.id] == 69


async def test_lost_index_is_made_again(closed_storage: Storage) -> None:
    async with closed_storage as storage:
        scopes = await storage.transact(fill)
        before = await storage.transact(lambda tx: [dict(tx.index.indexed(s)) for s in scopes])
        for scope in {*scopes}:
            await storage.transact(lambda tx, scope=scope: tx.index.clear(scope))  # type: ignore[misc] # a default
        assert await storage.transact(lambda tx: tx.index.scopes_for(["public"])) == []
        assert await check_on(storage).run() == Repaired(indexed=3)
        after = await storage.transact(lambda tx: [dict(tx.index.indexed(s)) for s in scopes])
        assert after == before
        public = await storage.transact(lambda tx: tx.index.scopes_for(["public"]))
        assert public == sorted({*scopes[:2]})


async def test_what_the_index_has_too_much_is_removed(closed_storage: Storage) -> None:
    async with closed_storage as storage:
        [scope, _, private] = await storage.transact(fill)

        def forget(tx: Transaction) -> None:
            for number in (1, 2):
                tx.documents.remove(document_id_of(number))

        await storage.transact(forget)
        assert (await check_on(storage).run()).removed == 2
        counts = await storage.transact(lambda tx: dict(tx.index.indexed(scope)))
        assert counts == {document_id_of(0): 69}
        managed = await storage.transact(lambda tx: tx.index.scopes_for(["managers"]))
        assert managed == [scope]
        assert private not in managed


def document_id_of(number: int) -> DocumentId:
    return DocumentId(f"{number}{ANA[:31]}")  # as `plant_document` makes it


async def test_document_whose_job_was_lost_is_queued_again(closed_storage: Storage) -> None:
    woken: list[int] = []
    async with closed_storage as storage:

        def lose(tx: Transaction) -> None:
            document = plant_document(tx, ANA, "text")
            waiting = replace(document, status=Status.QUEUED)
            tx.documents.put(waiting, old=document)

        await storage.transact(lose)
        assert (await check_on(storage, woken).run()).queued == 1
        assert woken
        assert (await check_on(storage).run()).queued == 0
        assert await storage.transact(lambda tx: tx.documents.has_jobs())


async def test_file_without_a_document_is_removed_unless_it_may_be_an_upload(
    closed_storage: Storage,
) -> None:
    def lost_at(at: datetime) -> str:
        return f"documents/{document_id(at, 'f' * 32)}/1/content"

    old, new = lost_at(T0 - timedelta(hours=2)), lost_at(T0 - timedelta(minutes=1))
    foreign = "documents/b/1/content"
    async with closed_storage as storage:
        await storage.transact(fill)
        names = await storage.transact(lambda tx: list(tx.blobs.names("documents")))
        for name in (old, new, foreign):
            await storage.transact(lambda tx, name=name: tx.blobs.put(name, b"x"))  # type: ignore[misc] # a default
        assert (await check_on(storage).run()).blobs == 1
        left = await storage.transact(lambda tx: tx.blobs.names("documents"))
        assert left == sorted([*names, new, foreign])


@pytest.mark.parametrize("target", ["json", "sqlite"])
async def test_migrated_documents_are_searched_after_the_first_check(
    target: str, make_storage: Callable[[str], Storage], tmp_path: Path
) -> None:
    async with make_storage("sqlite") as storage:
        scopes = await storage.transact(fill)
        before = await storage.transact(lambda tx: [dict(tx.index.indexed(s)) for s in scopes])
    source = parse_storage_url(f"sqlite:///{tmp_path / 'chatbot.db'}")
    there = parse_storage_url(
        f"json:{tmp_path / 'there'}" if target == "json" else f"sqlite:///{tmp_path / 'there.db'}"
    )
    with backend_of(source).export(source) as found, backend_of(there).export(there) as new:
        assert {step.outcome for step in StoreCopy(found, new).steps()}
        assert {step.outcome.name for step in StoreCopy(found, new).steps()} == {"SAME"}
    settings = settings_for_tests(storage_url=there.raw)
    async with build_storage(settings) as storage:
        assert (await check_on(storage).run()).indexed == 3
        after = await storage.transact(lambda tx: [dict(tx.index.indexed(s)) for s in scopes])
        content = await storage.transact(
            lambda tx: tx.blobs.get(f"documents/{document_id_of(1)}/2/content")
        )
    assert after == before
    assert content is not None
