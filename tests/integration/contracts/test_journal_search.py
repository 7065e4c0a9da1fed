"""What every engine of journals finds by labels and by time."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta

import pytest

from chatbot.domain.ports.journal import (
    Content,
    Journal,
    JournalEntry,
    JournalKind,
    JournalQuery,
    Label,
)
from chatbot.domain.ports.storage import Storage
from repositories import each_call_apart
from samples import T0

SEED = 20260302


def _labels(content: Content) -> Iterator[Label]:
    return ((name, value) for name, value in content.items() if isinstance(value, str))


NOTES = JournalKind(name="notes", labels=_labels, is_indexed=lambda label: label[1] != "often")
HOUR = timedelta(hours=1)
LATER = T0 + timedelta(days=9999)


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def journal(storage: Storage) -> Iterator[Journal]:
    with each_call_apart(storage) as transaction:
        yield transaction.journal


def fill(journal: Journal, contents: Sequence[tuple[Content, datetime]]) -> list[JournalEntry]:
    def entries(last: JournalEntry | None) -> list[JournalEntry]:
        first = 1 if last is None else last.seq + 1
        return [
            JournalEntry(journal=NOTES.name, seq=seq, at=at, content=content)
            for seq, (content, at) in enumerate(contents, first)
        ]

    return list(journal.extend(NOTES, entries))


def found(journal: Journal, query: JournalQuery, *, limit: int = 7) -> list[JournalEntry]:
    """All that match, page by page."""
    entries = list[JournalEntry]()
    after: int | None = 0
    while after is not None:
        page = journal.find(NOTES, query, after=after, limit=limit)
        assert len(page.entries) <= limit
        assert page.next_after is None or page.next_after > after
        assert all(entry.seq > after for entry in page.entries)
        entries += page.entries
        after = page.next_after
    return entries


def test_every_combination_of_labels_and_times_finds_what_matches(journal: Journal) -> None:
    rng = random.Random(SEED)
    now, contents = T0, list[tuple[Content, datetime]]()
    for _ in range(2600):  # more than two of the blocks of SQL, and several months
        now += rng.choice([timedelta(0), HOUR, HOUR, HOUR * 5, -HOUR * 9])
        content = {
            "action": rng.choice(["often"] * 9 + ["read", "writ\u00f1e"]),
            "actor": f"u{rng.randrange(40)}",
            "rare": "x" if rng.random() < 0.004 else 1,
        }
        contents.append((content, now))
    entries = fill(journal, contents)
    moments = [None, T0 - HOUR, T0 + (now - T0) / 3, T0 + (now - T0) / 2, now + 99 * HOUR]
    for action in ("often", "writ\u00f1e", "never", None):
        for actor in ("u1", "u41", None):
            for rare in ("x", None):
                named = {"action": action, "actor": actor, "rare": rare}
                labels = frozenset((k, v) for k, v in named.items() if v is not None)
                since, until = rng.choice(moments), rng.choice(moments)
                query = JournalQuery(labels=labels, since=since, until=until)
                expected = [entry for entry in entries if query.matches(NOTES, entry)]
                assert found(journal, query, limit=rng.choice([1, 50, 200])) == expected, query


def test_time_includes_its_beginning_and_excludes_its_end(journal: Journal) -> None:
    entries = fill(journal, [({}, T0 + HOUR * n) for n in range(5)])
    query = JournalQuery(since=T0 + HOUR, until=T0 + HOUR * 3)
    assert found(journal, query) == entries[1:3]


def test_entry_of_a_clock_that_was_set_back_is_found_by_its_own_time(journal: Journal) -> None:
    long_ago, future = T0 - timedelta(days=800), T0 + timedelta(days=9999)
    times = [T0, future, *[T0 + HOUR] * 1100, long_ago, *[T0 + HOUR * 2] * 1100]
    entries = fill(journal, [({}, at) for at in times])
    assert found(journal, JournalQuery(until=T0), limit=50) == [entries[1102]]
    assert found(journal, JournalQuery(since=T0 + HOUR * 3), limit=50) == [entries[1]]
    after = JournalQuery(since=T0 + HOUR * 2, until=T0 + HOUR * 3)
    assert found(journal, after, limit=200) == entries[1103:]


def test_nothing_after_the_last_number_of_a_query_is_found(journal: Journal) -> None:
    entries = fill(journal, [({"actor": "u"}, T0) for _ in range(9)])
    for labels in (frozenset(), frozenset({("actor", "u")})):
        assert found(journal, JournalQuery(labels=labels, up_to=4), limit=2) == entries[:4]


def test_one_page_of_a_long_journal_looks_at_a_bounded_part(journal: Journal) -> None:
    contents: list[tuple[Content, datetime]] = [
        ({"action": "often", "actor": f"u{n % 2}"}, T0) for n in range(30_000)
    ]
    fill(journal, contents)
    fill(journal, [({"action": "often", "actor": "u0", "also": "u1"}, T0)])
    query = JournalQuery(labels=frozenset({("actor", "u0"), ("also", "u1")}))
    assert [entry.seq for entry in found(journal, query)] == [30_001]
    nothing = JournalQuery(labels=frozenset({("action", "seldom"), ("actor", "u1")}))
    assert found(journal, nothing) == []


def test_labels_of_another_journal_are_not_found(journal: Journal) -> None:
    other = JournalKind(name="audit", labels=_labels)
    fill(journal, [({"actor": "u"}, T0)])
    journal.append(other, lambda _: {"actor": "v"}, at=T0)
    query = JournalQuery(labels=frozenset({("actor", "u")}))
    assert list(journal.find(other, query, limit=9).entries) == []
    assert len(found(journal, query)) == 1


def pruned(journal: Journal, before: datetime) -> int:
    """Prune until nothing is left to prune; each pruning is recorded by an entry."""

    def record(last_pruned: JournalEntry, newest: JournalEntry) -> JournalEntry:
        content = {"actor": "pruner", "number": last_pruned.seq}
        return JournalEntry(journal=NOTES.name, seq=newest.seq + 1, at=LATER, content=content)

    count = 0
    while removed := journal.prune(NOTES, before, record):
        count += removed
    return count


def test_oldest_entries_are_pruned_and_the_others_are_found(journal: Journal) -> None:
    months = [T0 + timedelta(days=32 * (number // 900)) for number in range(2700)]
    entries = fill(journal, [({"actor": f"u{n % 3}"}, at) for n, at in enumerate(months)])
    assert pruned(journal, T0 - HOUR) == 0
    before = T0 + timedelta(days=64)
    assert pruned(journal, before) == 1800
    left = list(journal.read(NOTES, limit=9999))
    assert left[:900] == entries[1800:]
    assert left[-1].content["number"] == 1800
    assert all(entry.content["actor"] == "pruner" for entry in left[900:])
    query = JournalQuery(labels=frozenset({("actor", "u1")}))
    assert found(journal, query, limit=200) == entries[1801::3]
    assert found(journal, JournalQuery(until=before), limit=200) == []
    assert found(journal, JournalQuery(since=before), limit=200) == left
    assert pruned(journal, before) == 0
    assert journal.append(NOTES, lambda _: {}, at=months[-1]).seq == left[-1].seq + 1


def test_newest_entry_is_never_pruned(journal: Journal) -> None:
    assert pruned(journal, LATER) == 0
    fill(journal, [({}, T0), ({}, T0 + timedelta(days=40))])
    pruned(journal, LATER)
    last = journal.last(NOTES)
    assert last is not None
    assert last.content["actor"] == "pruner"
