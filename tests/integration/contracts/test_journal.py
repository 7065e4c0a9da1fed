"""What every engine of journals promises."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest

from chatbot.domain.errors import Conflict
from chatbot.domain.ports.journal import Content, Journal, JournalEntry, JournalKind, copy_entries
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import JOURNALS, Transaction
from repositories import each_call_apart
from samples import T0

[AUDIT] = JOURNALS
OTHER = JournalKind(name="notes")
ODD: Content = {
    "seq": 7,
    "crc32": "00000000",
    "text": 'ñandú 😀 "\\ \n \u2028',
    "nested": {"list": [1, -(10**15), True, None, {"a": []}], "": ""},
}


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def journal(storage: Storage) -> Iterator[Journal]:
    with each_call_apart(storage) as transaction:
        yield transaction.journal


def always(content: Content) -> Callable[[JournalEntry | None], Content]:
    return lambda _: content


def count_on(last: JournalEntry | None) -> Content:
    """Content that refers to the previous entry, like a chain."""
    return {"number": 1 if last is None else last.seq + 1, "last": last and last.content["number"]}


def fill(journal: Journal, count: int) -> list[JournalEntry]:
    return [journal.append(AUDIT, count_on, at=T0 + timedelta(days=n)) for n in range(count)]


def test_new_journal_is_empty(journal: Journal) -> None:
    assert journal.last(AUDIT) is None
    assert list(journal.read(AUDIT, limit=9)) == []


def test_entry_is_returned_as_it_was_appended(journal: Journal) -> None:
    at = T0 + timedelta(microseconds=1)
    entry = JournalEntry(journal=AUDIT.name, seq=1, at=at, content=ODD)
    assert journal.append(AUDIT, always(ODD), at=at) == entry
    assert journal.last(AUDIT) == entry
    assert list(journal.read(AUDIT, limit=1)) == [entry]


@pytest.mark.parametrize("size", [5_000, 200_000])
def test_long_entries_are_found_among_short_ones(journal: Journal, size: int) -> None:
    contents: list[Content] = [{"text": "x" * (size if n % 3 else 1)} for n in range(9)]
    entries = [journal.append(AUDIT, always(content), at=T0) for content in contents]
    for after in range(9):
        assert list(journal.read(AUDIT, after=after, limit=2)) == entries[after : after + 2]


def test_entries_are_numbered_from_one_and_each_is_composed_from_the_last(journal: Journal) -> None:
    fill(journal, 4)
    found = journal.read(AUDIT, limit=99)
    assert [entry.seq for entry in found] == [1, 2, 3, 4]
    assert [entry.content for entry in found] == [
        {"number": n, "last": n - 1 if n > 1 else None} for n in range(1, 5)
    ]


def test_journals_are_independent(journal: Journal) -> None:
    fill(journal, 2)
    assert journal.append(OTHER, always({"a": 1}), at=T0).seq == 1
    assert [entry.seq for entry in journal.read(AUDIT, limit=9)] == [1, 2]
    assert [entry.content for entry in journal.read(OTHER, limit=9)] == [{"a": 1}]


def test_pages_follow_each_other_over_months(journal: Journal) -> None:
    entries = fill(journal, 70)
    found, after = list[JournalEntry](), 0
    while page := journal.read(AUDIT, after=after, limit=16):
        assert len(page) <= 16
        found += page
        after = page[-1].seq
    assert found == entries
    assert list(journal.read(AUDIT, after=70, limit=9)) == []
    assert list(journal.read(AUDIT, after=71, limit=9)) == []
    assert list(journal.read(AUDIT, limit=0)) == []


def test_any_entry_is_found_among_many(journal: Journal) -> None:
    for number in range(400):
        journal.append(AUDIT, always({"text": "x" * (number % 7) * 90}), at=T0)
    for after in range(0, 400, 13):
        assert journal.read(AUDIT, after=after, limit=1)[0].seq == after + 1


def test_clock_that_is_set_back_does_not_change_the_order(journal: Journal) -> None:
    times = [T0, T0 - timedelta(days=99), T0 - timedelta(days=3650)]
    entries = [journal.append(AUDIT, count_on, at=at) for at in times]
    assert [entry.at for entry in entries] == times
    assert list(journal.read(AUDIT, limit=9)) == entries
    assert journal.last(AUDIT) == entries[-1]


def test_content_that_cannot_be_composed_appends_nothing(journal: Journal) -> None:
    fill(journal, 1)
    with pytest.raises(ZeroDivisionError):
        journal.append(AUDIT, lambda _: {"a": 1 // 0}, at=T0)
    assert len(fill(journal, 1)) == 1
    assert [entry.seq for entry in journal.read(AUDIT, limit=9)] == [1, 2]


def test_entries_are_copied_in_their_order_only(journal: Journal) -> None:
    first, second = (
        JournalEntry(journal=AUDIT.name, seq=n, at=T0, content={"n": n}) for n in (1, 2)
    )
    for odd in ([first, first], [second, first]):
        with pytest.raises(Conflict):
            copy_entries(odd, AUDIT, journal)
    copy_entries([first], AUDIT, journal)
    with pytest.raises(Conflict):
        copy_entries([first, second], AUDIT, journal)
    copy_entries([second], AUDIT, journal)
    assert list(journal.read(AUDIT, limit=9)) == [first, second]


async def test_concurrent_appends_are_numbered_without_loss(storage: Storage) -> None:
    def append(tx: Transaction) -> int:
        tx.journal.append(AUDIT, count_on, at=T0)
        return tx.journal.append(AUDIT, count_on, at=T0).seq

    seqs = await asyncio.gather(*(storage.transact(append) for _ in range(20)))
    found = await storage.transact(lambda tx: list(tx.journal.read(AUDIT, limit=99)))
    assert len(set(seqs)) == 20
    assert [entry.seq for entry in found] == list(range(1, 41))
    assert [entry.content["last"] for entry in found] == [None, *range(1, 40)]


async def test_entries_are_kept_by_a_store_that_is_opened_again(closed_storage: Storage) -> None:
    async with closed_storage:
        entries = await closed_storage.transact(lambda tx: fill(tx.journal, 40))
    async with closed_storage:
        assert await closed_storage.transact(lambda tx: tx.journal.last(AUDIT)) == entries[-1]
        await closed_storage.transact(lambda tx: fill(tx.journal, 1))
        found = await closed_storage.transact(lambda tx: tx.journal.read(AUDIT, limit=99))
    assert list(found[:40]) == entries
    assert [entry.seq for entry in found] == list(range(1, 42))
