"""What is left of the documents of an erased person."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from canaries import CANARY, files_with, plant_document
from chatbot.application import document_index
from chatbot.application.document_index import erase_person
from chatbot.domain.documents import Access, audience
from chatbot.domain.identity import UserId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

ANA, BEN = UserId("a" * 32), UserId("b" * 32)
OTHER = "other-2b90"
PRIVATE_TO_ANA = Access(users=(ANA,))
SHARED = Access(users=(ANA, BEN))


def erased(tx: Transaction) -> dict[str, int]:
    counts = dict[str, int]()
    while more := erase_person(tx, ANA, at_most=1):
        counts = {name: counts.get(name, 0) + more[name] for name in {*counts, *more}}
    return counts


async def test_private_documents_are_deleted_and_shared_ones_lose_their_uploader(
    closed_storage: Storage,
) -> None:
    def work(tx: Transaction) -> None:
        for number, access in enumerate((Access(), PRIVATE_TO_ANA)):
            plant_document(tx, ANA, CANARY, access=access, number=number)
        shared = plant_document(tx, ANA, OTHER, access=SHARED, number=3)
        public = plant_document(tx, ANA, OTHER, access=Access(public=True), number=4)
        theirs = plant_document(tx, BEN, OTHER, access=SHARED, number=5)
        others = plant_document(tx, BEN, OTHER, number=6)
        tx.documents.enqueue(shared)
        assert erased(tx) == {"documents": 2, "document_mentions": 3}
        left = {each.id: each for each in tx.documents.all()}
        assert left.keys() == {shared.id, public.id, theirs.id, others.id}
        assert left[others.id] == others
        assert {left[each.id].uploaded_by for each in (shared, public)} == {""}
        assert left[theirs.id].uploaded_by == f"user:{BEN}"
        assert left[shared.id].access == left[theirs.id].access == Access(users=(BEN,))
        assert not [each for each in left.values() if f"user:{ANA}" in audience(each)]
        assert tx.index.scopes_for([f"user:{ANA}"]) == []
        for each in left.values():
            assert tx.index.indexed(each.scope)[each.id] == 69
        [job] = [tx.documents.take_job("x", each.created_at, most=9) for each in [shared]]
        assert job is not None
        assert job.owner == ""

    async with closed_storage as storage:
        await storage.transact(work)


async def test_document_of_an_erased_person_goes_with_the_last_person_whom_it_admits(
    closed_storage: Storage,
) -> None:
    def work(tx: Transaction) -> None:
        plant_document(tx, ANA, CANARY, access=SHARED, number=1)
        public = plant_document(tx, ANA, OTHER, access=Access(users=(BEN,), public=True), number=2)
        assert erased(tx) == {"document_mentions": 2}
        assert erase_person(tx, BEN, at_most=9) == {"documents": 1, "document_mentions": 1}
        assert [each.id for each in tx.documents.all()] == [public.id]

    async with closed_storage as storage:
        await storage.transact(work)


@pytest.mark.parametrize("name", ["json_files", "sqlite"])
async def test_nothing_of_a_deleted_document_stays_in_a_file(
    name: str, make_storage: Callable[[str], Storage], tmp_path: Path
) -> None:
    async with make_storage(name) as storage:

        def plant(tx: Transaction) -> list[Any]:
            return [
                plant_document(tx, ANA, CANARY, access=Access(public=True), number=1),
                plant_document(tx, ANA, OTHER, access=Access(public=True), number=2),
            ]

        gone, kept = await storage.transact(plant)
        assert files_with(CANARY, tmp_path)
        await storage.transact(lambda tx: document_index.remove(tx, gone))
        assert files_with(CANARY, tmp_path) == []
        counts = await storage.transact(lambda tx: tx.index.indexed(kept.scope))
        assert counts == {kept.id: 69}
