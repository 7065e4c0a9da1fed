"""One suite for the records of every storage: a new backend is done when it passes."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from chatbot.domain.errors import Conflict
from chatbot.domain.ports.records import Records
from notes import Note
from record_stores import Store
from samples import ODD_TEXTS, T0

ONE = Note(shelf="a", name="1", label="first", topic="x", pages=3)
TWO = Note(shelf="a", name="2", label="second", topic="y")
THREE = Note(shelf="b", name="1", label="third", topic="x", expires_at=T0)


async def test_record_is_found_by_its_key_and_by_a_unique_field(store: Store) -> None:
    await store.put(ONE, TWO, THREE)
    kind = store.kind
    assert await store.do(lambda records: records.get(kind, "a", "2")) == TWO
    assert await store.do(lambda records: records.get(kind, "b", "2")) is None
    assert await store.do(lambda records: records.find(kind, "label", "third")) == THREE
    assert await store.do(lambda records: records.find(kind, "label", "fourth")) is None


async def test_page_is_ordered_by_key_and_continues_after_a_key(store: Store) -> None:
    await store.put(THREE, TWO, ONE)
    kind = store.kind
    assert await store.all() == [ONE, TWO, THREE]
    assert await store.do(lambda records: records.page(kind, limit=2)) == [ONE, TWO]
    assert await store.do(lambda records: records.page(kind, after=("a", "1"))) == [TWO, THREE]
    assert await store.do(lambda records: records.page(kind, field="topic", value="x")) == [
        ONE,
        THREE,
    ]
    later = await store.do(
        lambda records: records.page(kind, field="topic", value="x", after=("a", "1"), limit=1)
    )
    assert later == [THREE]
    assert await store.do(lambda records: records.page(kind, field="label", value="first")) == [ONE]


async def test_records_with_one_of_several_values_are_in_one_page(store: Store) -> None:
    other = Note(shelf="c", name="0", label="fourth", topic="z")
    await store.put(THREE, TWO, other, ONE)
    kind = store.kind

    async def found(*topics: str, after: tuple[str, ...] = (), limit: int | None = None) -> object:
        return await store.do(
            lambda tx: list(
                tx.page_in(kind, field="topic", values=topics, after=after, limit=limit)
            )
        )

    assert await found("x", "z") == [ONE, THREE, other]
    assert await found("x", "y", after=("a", "1"), limit=1) == [TWO]
    assert await found("w", *(f"topic {n}" for n in range(2000)), "y") == [TWO]
    assert await found() == []
    counts = await store.do(
        lambda tx: [tx.count(kind, field="topic", value=each) for each in ("x", "y", "w")]
    )
    assert counts == [2, 1, 0]


async def test_keys_are_ordered_by_their_code_points(store: Store) -> None:
    names = ["Z", "a", "z", "ñ", "_", "0", "é", "日", "-", "B"]
    await store.put(*(Note(shelf="s", name=name, label=name) for name in names))
    assert [note.name for note in await store.all()] == sorted(names)


async def test_texts_of_any_kind_are_returned_as_they_were(store: Store) -> None:
    notes = [
        Note(shelf="s", name=f"{n}", label=f"{n} {text}", topic=text)
        for n, text in enumerate(ODD_TEXTS)
        if len(text) < 1000  # an index entry of Postgres has a limit
    ]
    await store.put(*notes)
    assert await store.all() == notes
    labels = [note.label for note in notes]
    found = await store.do(lambda tx: [tx.find(store.kind, "label", label) for label in labels])
    assert found == notes


async def test_new_record_with_the_key_of_another_is_a_conflict(store: Store) -> None:
    await store.put(ONE)
    with pytest.raises(Conflict):
        await store.put(replace(ONE, label="other"))
    assert await store.all() == [ONE]


async def test_value_of_a_unique_field_belongs_to_one_record(store: Store) -> None:
    await store.put(ONE, TWO)
    with pytest.raises(Conflict):
        await store.put(replace(THREE, label="first"))
    with pytest.raises(Conflict):
        await store.do(
            lambda records: records.put(store.kind, replace(TWO, label="first"), expected=TWO)
        )
    assert await store.all() == [ONE, TWO]
    await store.do(lambda records: records.remove(store.kind, "a", "1"))
    await store.put(replace(THREE, label="first"))


async def test_record_is_replaced_if_it_still_is_what_was_expected(store: Store) -> None:
    await store.put(ONE)
    new = replace(ONE, label="new", topic="z", pages=9, expires_at=T0)
    await store.do(lambda records: records.put(store.kind, new, expected=ONE))
    assert await store.all() == [new]
    assert await store.do(lambda records: records.find(store.kind, "label", "first")) is None
    with pytest.raises(Conflict):
        await store.do(lambda records: records.put(store.kind, replace(ONE, pages=1), expected=ONE))
    with pytest.raises(Conflict):
        await store.do(lambda records: records.put(store.kind, TWO, expected=TWO))
    assert await store.all() == [new]


async def test_removed_record_is_gone_and_removing_an_absent_one_is_a_no_op(store: Store) -> None:
    await store.put(ONE, TWO)
    for _ in range(2):
        await store.do(lambda records: records.remove(store.kind, "a", "1"))
    assert await store.all() == [TWO]


async def test_expired_records_are_dropped_and_others_stay(store: Store) -> None:
    later = replace(TWO, expires_at=T0 + timedelta(microseconds=1))
    await store.put(ONE, later, THREE)
    assert await store.do(lambda records: records.drop_expired(store.kind, T0)) == 1
    assert await store.all() == [ONE, later]
    assert await store.do(lambda records: records.drop_expired(store.kind, T0)) == 0


async def test_concurrent_read_modify_write_loses_no_update(store: Store) -> None:
    await store.put(ONE)

    def read_more(records: Records) -> None:
        records.exclusive(store.kind)
        found = records.get(store.kind, "a", "1")
        assert found is not None
        records.put(store.kind, replace(found, pages=found.pages + 1), expected=found)

    await asyncio.gather(*(store.do(read_more) for _ in range(20)))
    assert [note.pages for note in await store.all()] == [ONE.pages + 20]


async def test_of_concurrent_compare_and_swap_writes_one_wins(store: Store) -> None:
    await store.put(ONE)

    async def change(number: int) -> bool:
        new = replace(ONE, pages=100 + number)
        try:
            await store.do(lambda records: records.put(store.kind, new, expected=ONE))
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(change(n) for n in range(10)))) == 1


async def test_of_concurrent_inserts_with_one_unique_value_one_wins(store: Store) -> None:
    async def add(number: int) -> bool:
        try:
            await store.put(Note(shelf="s", name=f"{number}", label="taken"))
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(add(n) for n in range(10)))) == 1
    assert len(await store.all()) == 1


async def test_exclusive_section_is_released_after_an_exception(store: Store) -> None:
    def fail(records: Records) -> None:
        records.exclusive(store.kind)
        records.exclusive(store.kind)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.do(fail)
    await store.put(ONE)


async def test_several_writes_of_one_transaction_see_each_other(store: Store) -> None:
    def work(records: Records) -> None:
        records.exclusive(store.kind)
        records.put(store.kind, ONE, expected=None)
        assert records.find(store.kind, "label", "first") == ONE
        records.put(store.kind, replace(ONE, pages=4), expected=ONE)
        records.put(store.kind, TWO, expected=None)
        records.remove(store.kind, "a", "1")
        assert records.page(store.kind) == [TWO]

    await store.do(work)
    assert await store.all() == [TWO]
