"""Lists of records, filtered and ordered, on every store."""

import operator
from collections.abc import Callable
from dataclasses import replace

import pytest

from chatbot.domain.ports.records import Condition, Match, Records
from notes import Note
from record_stores import Store

ODD = ["", "%", "_", "a_b", "a%b", "\\", "'", "A", "a", "ñ", "Ñ", "日本", "é", "\n", "x" * 900]
NOTES_BY_LABEL = [
    Note(shelf=f"{n % 3}", name=f"{n}", label=f"{n:02} {text}", topic=text, pages=n)
    for n, text in enumerate(ODD)
]


COMPARED: dict[Match, Callable[[str, str], bool]] = {
    Match.EQUAL: operator.eq,
    Match.HOLDING: operator.contains,
    Match.AFTER: operator.gt,
    Match.UP_TO: operator.le,
}


async def found(
    store: Store, *conditions: Condition, after: str = "", limit: int | None = None
) -> list[Note]:
    def work(records: Records) -> list[Note]:
        return list(
            records.search(store.kind, conditions, order_by="label", after=after, limit=limit)
        )

    return await store.do(work)


def is_(field: str, match: Match, value: str) -> Condition:
    return Condition(field=field, match=match, value=value)


async def test_search_is_ordered_by_a_unique_field_and_continues_after_a_value(
    store: Store,
) -> None:
    await store.put(*reversed(NOTES_BY_LABEL))
    assert await found(store) == NOTES_BY_LABEL
    assert await found(store, after=NOTES_BY_LABEL[3].label, limit=2) == NOTES_BY_LABEL[4:6]
    assert await found(store, after=NOTES_BY_LABEL[-1].label) == []
    assert await found(store, limit=0) == []


@pytest.mark.parametrize("match", list(Match))
async def test_each_condition_is_compared_by_code_points(store: Store, match: Match) -> None:
    await store.put(*NOTES_BY_LABEL)
    for value in [*ODD, "0005", "b", "\0"[:0]]:
        for field in ("label", "topic_key", "page_count"):
            condition = is_(field, match, value)
            expected = [
                each for each in NOTES_BY_LABEL if COMPARED[match](getattr(each, field), value)
            ]
            assert await found(store, condition) == expected, (field, value)


async def test_all_conditions_have_to_be_met(store: Store) -> None:
    await store.put(*NOTES_BY_LABEL)
    both = is_("topic_key", Match.EQUAL, "a"), is_("page_count", Match.AFTER, "0007")
    assert await found(store, *both) == [NOTES_BY_LABEL[8]]


async def test_search_sees_changes_and_removals(store: Store) -> None:
    await store.put(*NOTES_BY_LABEL)
    old, gone = NOTES_BY_LABEL[:2]
    new = replace(old, label="zz", topic="Moved")
    moved = is_("topic_key", Match.EQUAL, "moved")
    assert await found(store, moved) == []
    await store.do(lambda records: records.put(store.kind, new, expected=old))
    await store.do(lambda records: records.remove(store.kind, gone.shelf, gone.name))
    assert await found(store, moved) == [new]
    assert await found(store) == [*NOTES_BY_LABEL[2:], new]


async def test_records_are_read_by_several_keys(store: Store) -> None:
    await store.put(*NOTES_BY_LABEL)
    keys = [store.kind.key_of(each) for each in NOTES_BY_LABEL[2:5]]
    records = await store.do(lambda records: records.get_all(store.kind, [*keys, ("x", "y")]))
    assert sorted(each.label for each in records) == [e.label for e in NOTES_BY_LABEL[2:5]]
    assert await store.do(lambda records: records.get_all(store.kind, [])) == []
