"""Documents, their passages and their queue, in every store."""

from dataclasses import replace
from datetime import timedelta

from chatbot.domain.document_jobs import LEASE
from chatbot.domain.document_passages import StoredPassage
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from samples import T0
from waiting_documents import document


def passages(count: int) -> list[StoredPassage]:
    return [
        StoredPassage(seq=n, text=f"Párrafo {n} 日本\n", heading=f"H {n}", start=n, end=n + 9)
        for n in range(1, count + 1)
    ]


async def test_page_has_the_documents_of_the_permitted_classes_the_newest_first(
    closed_storage: Storage,
) -> None:
    made = [document(n, readers=f"class {n % 3}") for n in range(6)]

    def work(tx: Transaction) -> None:
        for each in made:
            tx.documents.put(each, old=None)
        scopes = [made[0].scope, made[1].scope]
        page = tx.documents.page(scopes, limit=3)
        assert list(page) == [made[4], made[3], made[1]]
        assert list(tx.documents.page(scopes, after=page[-1].id, limit=3)) == [made[0]]
        assert list(tx.documents.page([], limit=3)) == []
        assert not tx.documents.is_alone(made[0])
        tx.documents.remove(made[3].id)
        assert tx.documents.is_alone(made[0])
        assert tx.documents.count_of("user:ana") == 5
        assert list(tx.documents.with_digest(made[2].digest)) == [made[2]]

    async with closed_storage as storage:
        await storage.transact(work)


async def test_passages_are_found_by_document_and_number(closed_storage: Storage) -> None:
    one, two = document(1), document(2)
    many = passages(40)

    def work(tx: Transaction) -> None:
        for each in (one, two):
            tx.documents.put(each, old=None)
            tx.documents.put_passages(each.id, 1, many)
        found = tx.documents.passages([(one.id, 1), (two.id, 17), (one.id, 41), (two.id, 17)])
        assert {key: each.passage for key, each in found.items()} == {
            (one.id, 1): many[0],
            (two.id, 17): many[16],
        }
        assert found[one.id, 1].title == one.title
        assert found[one.id, 1].version == 1
        assert list(tx.documents.all_passages(one)) == many
        tx.documents.remove(one.id)
        assert tx.blobs.names(f"documents/{one.id}") == []
        assert tx.documents.passages([(one.id, 1)]) == {}

    async with closed_storage as storage:
        await storage.transact(work)


async def test_job_is_held_by_one_process_until_its_lease_ends(closed_storage: Storage) -> None:
    def work(tx: Transaction) -> None:
        assert not tx.documents.has_jobs()
        for each in (document(1), document(2)):
            tx.documents.enqueue(each)
        first = tx.documents.take_job("a", T0, most=1)
        assert first is not None
        assert tx.documents.take_job("b", T0, most=1) is None, "one is held already"
        second = tx.documents.take_job("b", T0, most=2)
        assert second is not None
        assert second.id != first.id
        assert tx.documents.renew_job(first, T0 + LEASE / 2)
        later = T0 + LEASE
        again = tx.documents.take_job("c", later, most=2)
        assert again is not None
        assert (again.id, again.attempts) == (second.id, 2)
        assert not tx.documents.renew_job(second, later), "it was lost"
        tx.documents.give_back(second)
        assert tx.documents.is_held(again)
        assert tx.documents.is_held(first)
        tx.documents.give_back(first)
        back = tx.documents.take_job("d", later, most=2)
        assert back is not None
        assert (back.id, back.attempts) == (first.id, 1)
        tx.documents.end_job(back)
        tx.documents.end_job(again)
        assert not tx.documents.has_jobs()

    async with closed_storage as storage:
        await storage.transact(work)


async def test_people_take_turns_in_the_queue(closed_storage: Storage) -> None:
    def work(tx: Transaction) -> list[str]:
        for n in range(5):
            tx.documents.enqueue(document(n))
        tx.documents.enqueue(document(9, owner="user:ben"))
        owners = []
        while (job := tx.documents.take_job("a", T0, most=99)) is not None:
            owners.append(job.owner)
            tx.documents.end_job(job)
        return owners

    async with closed_storage as storage:
        owners = await storage.transact(work)
    assert owners == ["user:ana", "user:ben", *["user:ana"] * 4]


async def test_new_version_waits_behind_the_document_that_answers(closed_storage: Storage) -> None:
    one = document(1)
    two = replace(one, newest=replace(one.newest, number=2), updated_at=T0 + timedelta(days=1))

    def work(tx: Transaction) -> None:
        tx.documents.put(one, old=None)
        tx.documents.enqueue(one)
        tx.documents.put(two, old=one)
        tx.documents.enqueue(two)
        jobs = [tx.documents.take_job("a", T0, most=9) for _ in range(2)]
        assert [job.version for job in jobs if job is not None] == [1, 2]

    async with closed_storage as storage:
        await storage.transact(work)
